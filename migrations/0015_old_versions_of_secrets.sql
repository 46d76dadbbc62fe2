ALTER TABLE "secrets" ADD COLUMN "oldest_version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
CREATE INDEX "secrets_versions" ON "secrets" USING btree ((version - oldest_version));