-- 00_house.sql: the roles and the schema.
--
-- Roles are objects of the cluster, not of the extension: they are made where absent and accepted where present only if nobody could
-- have prepared them to get into this database.  The schema is made by the script itself, so that nobody can pre-create and keep it.

DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'biolink needs a database in UTF8'
			USING ERRCODE = 'feature_not_supported',
				DETAIL = pg_catalog.format('This one is in %s.', pg_catalog.getdatabaseencoding()),
				HINT = 'URLs and JSON are UTF-8: CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;

DO $$
DECLARE
	purpose pg_catalog.text[];
	found_role pg_catalog.pg_authid;
	strangers pg_catalog.text;
BEGIN
	FOREACH purpose SLICE 1 IN ARRAY ARRAY[
		['biolink_owner', 'biolink: owns the tables and the functions that act for every tenant; nobody logs in as it'],
		['biolink_app', 'biolink: an application back end: pages, clicks, events, tokens, configuration'],
		['biolink_analyst', 'biolink: reads the numbers of the creators that biolink.creator_member gives it'],
		['biolink_admin', 'biolink: runs jobs, keys and checks, sees every tenant']]
	LOOP
		SELECT r.* INTO found_role FROM pg_catalog.pg_authid AS r
			WHERE r.rolname OPERATOR(pg_catalog.=) purpose[1]::pg_catalog.name;
		IF NOT FOUND THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', purpose[1]);
			EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', purpose[1], purpose[2]);
			CONTINUE;
		END IF;

		IF found_role.rolcanlogin OR found_role.rolsuper OR found_role.rolcreaterole OR found_role.rolbypassrls OR found_role.rolreplication THEN
			RAISE EXCEPTION 'role "%" exists already and may do more than biolink gives it', purpose[1]
				USING ERRCODE = 'insufficient_privilege',
					DETAIL = 'It can log in, or is superuser, or has CREATEROLE, BYPASSRLS or REPLICATION.',
					HINT = pg_catalog.format('Find out who made it; then ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS NOREPLICATION, or drop it.', purpose[1]);
		END IF;

		-- Default privileges of the role would open what it will own; membership of the owner in another role would lend it more rights.
		IF EXISTS (SELECT FROM pg_catalog.pg_default_acl AS d WHERE d.defaclrole OPERATOR(pg_catalog.=) found_role.oid)
			OR purpose[1] OPERATOR(pg_catalog.=) 'biolink_owner'
				AND EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m WHERE m.member OPERATOR(pg_catalog.=) found_role.oid)
		THEN
			RAISE EXCEPTION 'role "%" exists already and was prepared', purpose[1]
				USING ERRCODE = 'insufficient_privilege',
					DETAIL = 'It has default privileges in this database, or is a member of another role.',
					HINT = pg_catalog.format('Find out who did so; then ALTER DEFAULT PRIVILEGES FOR ROLE %I ... REVOKE, and revoke its memberships.', purpose[1]);
		END IF;

		-- A member counts as known when a superuser made it one, without the right to pass the membership on: so a second database of
		-- the cluster, a restored dump and pg_dumpall work, and whoever prepared the roles does not get in.  The owner has no members at all.
		SELECT pg_catalog.string_agg(member.rolname, ', ' ORDER BY member.rolname) INTO strangers
			FROM pg_catalog.pg_auth_members AS m
			JOIN pg_catalog.pg_roles AS member ON member.oid OPERATOR(pg_catalog.=) m.member
			LEFT JOIN pg_catalog.pg_roles AS grantor ON grantor.oid OPERATOR(pg_catalog.=) m.grantor
			WHERE m.roleid OPERATOR(pg_catalog.=) found_role.oid
				AND NOT member.rolsuper
				AND (purpose[1] OPERATOR(pg_catalog.=) 'biolink_owner' OR m.admin_option OR NOT COALESCE(grantor.rolsuper, false));
		IF strangers IS NOT NULL THEN
			RAISE EXCEPTION 'role "%" exists already and has members that no superuser vouched for', purpose[1]
				USING ERRCODE = 'insufficient_privilege',
					DETAIL = pg_catalog.format('Members: %s.', strangers),
					HINT = CASE WHEN purpose[1] OPERATOR(pg_catalog.=) 'biolink_owner'
						THEN 'Revoke the memberships: nobody is meant to act as biolink_owner.'
						ELSE 'Revoke these memberships; grant them again, as a superuser and without ADMIN OPTION, once the extension is installed.' END;
		END IF;
	END LOOP;
END
$$;

CREATE SCHEMA biolink AUTHORIZATION biolink_owner;
COMMENT ON SCHEMA biolink IS 'biolink: attribution back end for link-in-bio products';
GRANT USAGE ON SCHEMA biolink TO biolink_app, biolink_analyst, biolink_admin;
