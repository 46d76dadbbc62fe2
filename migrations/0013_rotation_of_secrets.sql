ALTER TABLE "secrets" ADD COLUMN "rotate_after_days" integer;--> statement-breakpoint
ALTER TABLE "secrets" ADD COLUMN "rotation_due_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "secrets" ADD COLUMN "rotation_told_version" integer;--> statement-breakpoint
CREATE INDEX "secrets_rotation" ON "secrets" USING btree ("rotation_due_at","path") WHERE rotation_due_at is not null;--> statement-breakpoint
ALTER TABLE "secrets" ADD CONSTRAINT "secrets_rotation_due" CHECK ((rotate_after_days is null) = (rotation_due_at is null));