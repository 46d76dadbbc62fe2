-- A row that changes has another revision, whoever changes it: what was decided by the row as it was is then refused by
-- the statement that carries it out. The number is drawn and not counted, because after a failover that lost a change
-- the next one would count to the number that the lost one had.
CREATE FUNCTION "agents_draw_revision"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- 1 to 2^31 - 2 further on, modulo 2^31 - 1: never the number that it was.
  NEW.revision := (OLD.revision::bigint + 1 + floor(random() * 2147483646)::bigint) % 2147483647;
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER "agents_draw_revision" BEFORE UPDATE ON "agents"
  FOR EACH ROW WHEN (NEW.revision = OLD.revision) EXECUTE FUNCTION "agents_draw_revision"();
