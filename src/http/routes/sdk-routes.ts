/**
 * What the Python SDK asks beside tokens and decisions (contract sections 4.7, 4.8): who it is, what it may record of
 * its own traces, and whether a signed plan may change.
 */

import Type from 'typebox';
import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { DenyCaller } from '../../use-cases/authentication/deny-caller.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, instant, oneOf, strictObject, uuid } from '../routing/schemas.ts';
import { ORGANISATION } from './intent-token-routes.ts';

const TAG = 'python sdk';
const LEASE_MS = 3_600_000;
const REANCHOR = '/iap/trust/reanchor';

const never = (description: string) => Type.Unsafe<false>({ const: false, description });

export interface SdkRouteDeps {
  readonly now: () => Date;
  readonly forbid: DenyCaller['forbid'];
}

export function addSdkRoutes(routes: Routes, { now, forbid }: SdkRouteDeps): void {
  routes.authenticated({
    method: 'POST',
    url: '/iap/sdk/bootstrap',
    tag: TAG,
    summary: 'Who is the holder of this key?',
    roles: ROLES,
    keyCheck: 'before-handler',
    body: strictObject({}),
    answers: {
      200: strictObject({
        agent: strictObject({ id: uuid(), name: Type.String() }),
        org: strictObject({ id: oneOf([ORGANISATION]), name: oneOf([ORGANISATION]) }),
        mcps: Type.Array(Type.String(), { maxItems: 0, description: 'there is no inventory of tools' }),
        toolMap: freeObject('always empty'),
      }),
    },
    handle: async ({ caller: { principal } }) => ({
      status: 200,
      body: {
        agent: { id: principal.id, name: principal.name },
        org: { id: ORGANISATION, name: ORGANISATION },
        mcps: [],
        toolMap: {},
      },
    }),
  });

  routes.authenticated({
    method: 'GET',
    url: '/observability/policy/lease',
    tag: TAG,
    summary: 'What may a client record in traces? Nothing: there is no trace intake',
    roles: ROLES,
    keyCheck: 'before-handler',
    answers: {
      200: strictObject({
        captureMode: oneOf(['off']),
        revision: Type.Integer({ description: 'always 0' }),
        expiresAt: instant(),
        contentCaptureAllowed: never('no prompt or answer is ever asked for'),
        externalContentCaptureAllowed: never('nor allowed to be sent elsewhere'),
      }),
    },
    handle: async () => ({
      status: 200,
      body: {
        captureMode: 'off',
        revision: 0,
        expiresAt: formatTimestamp(new Date(now().getTime() + LEASE_MS)),
        contentCaptureAllowed: false,
        externalContentCaptureAllowed: false,
      },
    }),
  });

  routes.refused({
    method: 'POST',
    url: REANCHOR,
    tag: TAG,
    summary: 'Always refused, whatever is sent: a signed plan does not change',
    roles: ['admin', 'agent'],
    refuse: (caller, context) =>
      forbid(caller, context, {
        type: 'endpoint',
        id: `POST ${REANCHOR}`,
        why: 'A signed plan does not change. Ask for a new token for the new plan.',
      }),
  });
}
