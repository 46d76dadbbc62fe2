-- Nearly always all is under the active key: that is asked first, and costs an insert of one row half as much as before.
CREATE OR REPLACE FUNCTION "master_keys_refuse_inactive"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  active text;
  active_bytes bytea;
  refused text;
BEGIN
  SELECT kek_id INTO active FROM master_keys WHERE state = 'active';
  IF TG_LEVEL = 'ROW' THEN
    IF TG_ARGV[0] = 'kek_id' THEN refused := NEW.kek_id;
    ELSE refused := encode(substring(NEW.seal FROM 1 FOR 8), 'hex'); END IF;
    IF refused = active THEN RETURN NULL; END IF;
    PERFORM FROM master_keys WHERE kek_id = refused
      AND state = 'retiring' AND since > clock_timestamp() - interval '10 s';
    IF FOUND THEN RETURN NULL; END IF;
  ELSIF TG_ARGV[0] = 'kek_id' THEN
    PERFORM FROM made WHERE kek_id IS DISTINCT FROM active AND kek_id IS NOT NULL;
    IF NOT FOUND THEN RETURN NULL; END IF;
    SELECT kek_id INTO refused FROM made WHERE kek_id IS NOT NULL AND kek_id NOT IN (
      SELECT kek_id FROM master_keys
      WHERE state = 'active' OR state = 'retiring' AND since > clock_timestamp() - interval '10 s') LIMIT 1;
    IF NOT FOUND THEN RETURN NULL; END IF;
  ELSE
    active_bytes := decode(active, 'hex');
    PERFORM FROM made WHERE substring(seal FROM 1 FOR 8) IS DISTINCT FROM active_bytes AND seal IS NOT NULL;
    IF NOT FOUND THEN RETURN NULL; END IF;
    SELECT encode(substring(seal FROM 1 FOR 8), 'hex') INTO refused FROM made
    WHERE seal IS NOT NULL AND encode(substring(seal FROM 1 FOR 8), 'hex') NOT IN (
      SELECT kek_id FROM master_keys
      WHERE state = 'active' OR state = 'retiring' AND since > clock_timestamp() - interval '10 s') LIMIT 1;
    IF NOT FOUND THEN RETURN NULL; END IF;
  END IF;
  RAISE EXCEPTION '% was written under the master key %, which is not active', TG_TABLE_NAME, refused
    USING ERRCODE = 'WK001';
END $$;
