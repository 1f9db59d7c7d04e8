-- 99_close.sql: what holds for everything above.

-- Functions are born executable by everybody; here only what a file grants by name is.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA biolink FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA biolink FROM PUBLIC;

-- The owner acts for the functions that run as it.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA biolink TO biolink_owner;

-- A worker that is there looks at the new extension when this transaction commits.
SELECT biolink.wake_worker();
