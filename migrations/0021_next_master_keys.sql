-- A master key is listed before anything is under it, so that every process knows it by then.
ALTER TABLE "master_keys" DROP CONSTRAINT "master_keys_state";--> statement-breakpoint
ALTER TABLE "master_keys" ADD CONSTRAINT "master_keys_state" CHECK (state in ('next', 'active', 'retiring', 'retired'));
