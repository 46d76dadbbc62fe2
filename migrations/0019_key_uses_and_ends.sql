-- From where a key was last used, and when it was last told that it ends soon: no seal covers either. The index is for the
-- job that asks which keys end soon.
ALTER TABLE "api_keys" ADD COLUMN "last_used_ip" text;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "end_told_at" timestamp (6) with time zone;--> statement-breakpoint
CREATE INDEX "api_keys_end" ON "api_keys" USING btree ("expires_at") WHERE revoked_at is null and expires_at is not null;
