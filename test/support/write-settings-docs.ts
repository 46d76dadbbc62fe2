/** `npm run docs:settings`: writes what the documents say of the settings from the table of settings. */
import { writeFileSync } from 'node:fs';
import { GENERATED_PARTS, withGeneratedPart } from './settings-docs.ts';

for (const part of GENERATED_PARTS) writeFileSync(part.path, withGeneratedPart(part));
