/** What telling the webhook asks of the outside: types only. */

/** A notice that is owed to the webhook: written with what it tells of, sent later. */
export interface Notice {
  readonly id: string;
  /** The body as it is signed and sent. */
  readonly payload: string;
}

export interface LeasedNotice extends Notice {
  /** The one under way included. */
  readonly attempts: number;
}

export interface WebhookOutbox {
  /** Nobody else gets these for `seconds`. */
  lease(of: { readonly limit: number; readonly seconds: number }): Promise<readonly LeasedNotice[]>;
  delivered(id: string): Promise<void>;
  /** `retryAfterSeconds` undefined: it is given up. */
  failed(
    id: string,
    how: { readonly why: string; readonly retryAfterSeconds: number | undefined },
  ): Promise<void>;
}

/** Resolves with undefined when it was taken, else with why not. */
export type SendWebhook = (notice: Notice) => Promise<string | undefined>;
