/** The inventory of intent tokens, and their end. */

import { addIntentTokenInventoryRoutes } from '../http/routes/intent-token-inventory-routes.ts';
import { newId } from '../platform/ids.ts';
import { createIntentTokenInventory } from '../storage/intent-tokens/intent-token-inventory.ts';
import { createIntentTokenManager } from '../use-cases/intent-tokens/manage-intent-tokens.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export function composeIntentInventory(
  { database }: AppContext,
  { authentication }: { readonly authentication: AuthenticationPart },
): ServedPart {
  const tokens = createIntentTokenManager({
    inventory: createIntentTokenInventory(database),
    newId,
    denyCaller: authentication.denyCaller,
  });
  return { addRoutes: (routes) => addIntentTokenInventoryRoutes(routes, tokens) };
}
