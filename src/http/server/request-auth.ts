/** Who calls, and what the request was found to be allowed: each is set once, in `admission/route-admission.ts`. */

import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { AuthorizedRequest, ResolvedRequester } from '../../use-cases/secrets/authorized-request.ts';

/** `principalId` is whose the credential is: what is counted and logged. */
export type RequestAuth =
  | { readonly kind: 'anonymous'; readonly principalId: undefined }
  /** `caller` as this process knows it, which may be a minute old. */
  | { readonly kind: 'api_key'; readonly principalId: string; readonly caller: Caller }
  | {
      readonly kind: 'scoped_token';
      readonly principalId: string;
      readonly tokenHashHex: string;
      /** What was read to find out whose token it is; undefined where this process knew. */
      readonly resolved: ResolvedRequester | undefined;
    };

export type Authorized =
  | { readonly kind: 'anyone' }
  /** `caller` has a role of the route, and its row has been read where the route's write does not judge it. */
  | { readonly kind: 'caller'; readonly caller: Caller }
  | { readonly kind: 'secrets'; readonly authorized: AuthorizedRequest };

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined until the credential is known to be good, and where no route matches. */
    auth: RequestAuth | undefined;
    /** Undefined until `authorize` has allowed the request. */
    authorized: Authorized | undefined;
  }
}
