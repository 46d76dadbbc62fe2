/** The name of a key of a key management service, as a setting has it: `vault:MOUNT/keys/NAME` or `aws:KEY`. */

export type KmsKey =
  | {
      readonly service: 'vault';
      /** Where the transit engine is mounted; it may begin with a namespace. */
      readonly mount: string;
      readonly key: string;
      /** As it was given. */
      readonly text: string;
    }
  | {
      readonly service: 'aws';
      /** A key's ARN or id, or an alias or its ARN. */
      readonly keyId: string;
      /** Of an ARN. */
      readonly region: string | undefined;
      readonly text: string;
    };

export const KMS_KEY_FORMS =
  'vault:MOUNT/keys/NAME for a transit key of OpenBao or Vault, or aws: and a key ARN, a key id, an alias ARN or alias/NAME';

/** A name is part of a path: no character that has a meaning there, and nothing that leads up. */
const VAULT = /^vault:((?:[\w-][\w.-]*\/)+)keys\/([\w-][\w.-]*)$/;
const AWS_ARN =
  /^arn:aws(?:-[a-z-]{1,20})?:kms:([a-z0-9-]{1,32}):\d{12}:(?:key\/[\w-]{1,64}|alias\/[\w/-]{1,250})$/;
const AWS_NAME = /^(?:alias\/[\w/-]{1,250}|[\w-]{1,64})$/;
const MAX_LENGTH = 512;

/** Undefined for what is none. */
export function parseKmsKey(text: string): KmsKey | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const [, mount, key] = VAULT.exec(text) ?? [];
  if (mount !== undefined && key !== undefined)
    return { service: 'vault', mount: mount.slice(0, -1), key, text };
  if (!text.startsWith('aws:')) return undefined;
  const keyId = text.slice('aws:'.length);
  const region = AWS_ARN.exec(keyId)?.[1];
  return region !== undefined || AWS_NAME.test(keyId) ? { service: 'aws', keyId, region, text } : undefined;
}
