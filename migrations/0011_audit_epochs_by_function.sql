-- Begins the present epoch unless it has begun, and no other: whoever calls it cannot say which. It runs as its owner, so
-- that the role that serves needs no right to write the table; times are written alike whatever the caller's session has.
CREATE FUNCTION begin_audit_epoch() RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
  INSERT INTO audit_epochs (position, epoch, history)
  SELECT coalesce(max(known.position), 0) + 1, own.start, own.history
  FROM (
    SELECT pg_postmaster_start_time() AS start,
      concat_ws(' ', pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database())) AS history
  ) AS own LEFT JOIN audit_epochs AS known ON true
  GROUP BY own.start, own.history
  HAVING (SELECT history FROM audit_epochs ORDER BY position DESC LIMIT 1) IS DISTINCT FROM own.history
  ON CONFLICT (position) DO NOTHING
$$;--> statement-breakpoint
DO $$
DECLARE grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE given.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(given.grantee)) END
    FROM pg_class AS relation CROSS JOIN LATERAL aclexplode(relation.relacl) AS given
    WHERE relation.oid = 'audit_epochs'::regclass AND given.grantee <> relation.relowner
  LOOP
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON audit_epochs FROM %s', grantee);
  END LOOP;
END $$;
