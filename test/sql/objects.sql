-- Every object of the extension with its marks and grants: nothing appears, and nothing is granted, by accident.
\pset format unaligned
\pset tuples_only on

CREATE TEMPORARY VIEW member AS
	SELECT d.classid, d.objid FROM pg_depend AS d
	JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'biolink' AND d.deptype = 'e';

\echo == members by class
SELECT m.classid::regclass, count(*) FROM member AS m WHERE m.classid <> 'pg_type'::regclass GROUP BY m.classid ORDER BY m.classid::regclass::text;

\echo == functions: marks and grants (v/s/i volatility, u/r/s parallel)
SELECT p.oid::regprocedure || ' ' || l.lanname || ' ' || p.prokind::text || p.provolatile::text || p.proparallel::text
		|| CASE WHEN p.proisstrict THEN ' strict' ELSE '' END || CASE WHEN p.prosecdef THEN ' definer' ELSE '' END
		|| CASE WHEN p.proretset THEN ' set' ELSE '' END
		|| ' cost ' || p.procost
		|| CASE WHEN p.proconfig IS NULL THEN '' ELSE ' ' || array_to_string(p.proconfig, '; ') END
		|| ' -> ' || COALESCE((SELECT string_agg(COALESCE(r.rolname, 'PUBLIC'), ',' ORDER BY r.rolname)
			FROM aclexplode(p.proacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
			WHERE a.grantee <> p.proowner AND r.rolname IS DISTINCT FROM 'biolink_owner'), '-')
	FROM member AS m JOIN pg_proc AS p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass
	JOIN pg_language AS l ON l.oid = p.prolang
	ORDER BY p.oid::regprocedure::text COLLATE "C";

\echo == relations: kind, owner where it is the owner role, row security, grants
SELECT c.oid::regclass || ' ' || c.relkind::text || CASE WHEN o.rolname = 'biolink_owner' THEN ' biolink_owner' ELSE '' END
		|| CASE WHEN c.relrowsecurity THEN ' rls' ELSE '' END
		|| CASE WHEN c.reloptions IS NULL THEN '' ELSE ' ' || array_to_string(c.reloptions, ',') END
		|| ' -> ' || COALESCE((SELECT string_agg(g.name || ':' || g.rights, ' ' ORDER BY g.name)
			FROM (SELECT COALESCE(r.rolname, 'PUBLIC') AS name, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type) AS rights
				FROM aclexplode(c.relacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
				WHERE a.grantee <> c.relowner GROUP BY 1) AS g), '-')
	FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	JOIN pg_roles AS o ON o.oid = c.relowner
	ORDER BY c.oid::regclass::text COLLATE "C";

\echo == row security policies
SELECT p.tablename || ' ' || p.policyname || ' ' || p.cmd || ' ' || p.roles::text
	FROM pg_policies AS p WHERE p.schemaname = 'biolink' ORDER BY p.tablename COLLATE "C", p.policyname COLLATE "C";

\echo == dumped tables and sequences
SELECT c.oid::regclass FROM pg_extension AS e CROSS JOIN unnest(e.extconfig) AS t (oid) JOIN pg_class AS c ON c.oid = t.oid
	WHERE e.extname = 'biolink' ORDER BY c.oid::regclass::text COLLATE "C";

\echo == other objects
SELECT (i.type || ' ' || i.identity) COLLATE "C" AS object
	FROM member AS m CROSS JOIN LATERAL pg_identify_object(m.classid, m.objid, 0) AS i
	WHERE m.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)
	ORDER BY object;
SELECT format('type %s', t.oid::regtype) COLLATE "C" AS object FROM member AS m JOIN pg_type AS t ON t.oid = m.objid AND m.classid = 'pg_type'::regclass
	WHERE t.typelem = 0 AND (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class AS c WHERE c.oid = t.typrelid) = 'c') ORDER BY object;

\echo == from here on each query lists faults: there are none

\echo -- a function, procedure or relation without a comment
SELECT i.type, i.identity FROM member AS m CROSS JOIN LATERAL pg_identify_object(m.classid, m.objid, 0) AS i
	WHERE (m.classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass)
			OR m.classid = 'pg_class'::regclass AND (SELECT c.relkind FROM pg_class AS c WHERE c.oid = m.objid) IN ('r', 'p', 'v')
			OR m.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t WHERE t.oid = m.objid AND t.typtype = 'b' AND t.typelem = 0))
		AND obj_description(m.objid, m.classid::regclass::name) IS NULL
	ORDER BY 1, 2;

\echo -- something granted to PUBLIC
SELECT p.oid::regprocedure FROM member AS m JOIN pg_proc AS p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass
	CROSS JOIN LATERAL aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0;
SELECT c.oid::regclass FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	CROSS JOIN LATERAL aclexplode(c.relacl) AS a WHERE a.grantee = 0;

\echo -- a function in SQL or PL/pgSQL without a pinned search_path, or one that runs as a superuser
SELECT p.oid::regprocedure FROM member AS m JOIN pg_proc AS p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass
	JOIN pg_language AS l ON l.oid = p.prolang
	WHERE l.lanname IN ('sql', 'plpgsql') AND p.prokind = 'f'
		AND NOT COALESCE('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false);
SELECT p.oid::regprocedure FROM member AS m JOIN pg_proc AS p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass
	JOIN pg_roles AS r ON r.oid = p.proowner
	WHERE p.prosecdef AND (r.rolsuper OR p.proconfig IS NULL);

\echo -- a table with creator_id that does not start with it, lacks row security, or lacks it in its key
SELECT c.oid::regclass FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND c.oid <> 'biolink.root_key'::regclass AND c.relname !~ '^job' AND c.oid <> 'biolink.event_retention'::regclass
		AND (NOT c.relrowsecurity
			OR (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum = 1) <> 'creator_id'
			OR c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indkey[0] = 1));

\echo -- a table whose rows a dump would lose
SELECT c.oid::regclass FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	WHERE c.relkind IN ('r', 'S') AND c.oid NOT IN ('biolink.job_candidate'::regclass, 'biolink.job_memory'::regclass, 'biolink.job_run'::regclass, 'biolink.job_run_run_id_seq'::regclass)
		AND NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'biolink' AND c.oid = ANY (e.extconfig));

\echo -- a view that does not run with the rights of who reads it
SELECT c.oid::regclass FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	WHERE c.relkind = 'v' AND NOT COALESCE('security_invoker=true' = ANY (c.reloptions), false);

\echo -- a table or definer function that the owner role does not own
SELECT c.oid::regclass FROM member AS m JOIN pg_class AS c ON c.oid = m.objid AND m.classid = 'pg_class'::regclass
	WHERE c.relkind IN ('r', 'p', 'S') AND c.relowner <> 'biolink_owner'::regrole;
