/** What telling the webhook asks of the outside: types only. */

/** A notice that is owed to the webhook; undefined where there is none. */
export type WebhookEvent = { readonly id: string; readonly payload: string } | undefined;

export interface QueuedWebhookEvent {
  readonly id: string;
  readonly payload: string;
  /** The one under way included. */
  readonly attempts: number;
}

export interface WebhookOutbox {
  /** Nobody else gets these for `seconds`. */
  lease(of: { readonly limit: number; readonly seconds: number }): Promise<readonly QueuedWebhookEvent[]>;
  delivered(id: string): Promise<void>;
  /** `retryAfterSeconds` undefined: it is given up. */
  failed(
    id: string,
    how: { readonly why: string; readonly retryAfterSeconds: number | undefined },
  ): Promise<void>;
}

/** Resolves with undefined when it was taken, else with why not. */
export type SendWebhook = (notice: {
  readonly id: string;
  readonly payload: string;
}) => Promise<string | undefined>;
