ALTER TABLE "signing_keys" DROP CONSTRAINT "signing_keys_state";--> statement-breakpoint
ALTER TABLE "signing_keys" ALTER COLUMN "wrapped_private_key" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "signing_keys" ALTER COLUMN "kek_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD COLUMN "state_since" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL;--> statement-breakpoint
-- The key of the first start has signed since then.
UPDATE "signing_keys" SET "state_since" = "created_at";--> statement-breakpoint
CREATE UNIQUE INDEX "signing_keys_one_next" ON "signing_keys" USING btree ("state") WHERE state = 'next';--> statement-breakpoint
ALTER TABLE "signing_keys" ADD CONSTRAINT "signing_keys_private_half" CHECK ((wrapped_private_key is null) = (state in ('retired', 'compromised')) and (wrapped_private_key is null) = (kek_id is null));--> statement-breakpoint
ALTER TABLE "signing_keys" ADD CONSTRAINT "signing_keys_state" CHECK (state in ('next', 'active', 'retiring', 'retired', 'compromised'));