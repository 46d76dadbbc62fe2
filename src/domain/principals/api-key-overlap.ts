/** How long older API keys live on beside the new one (contract section 2). */

export const ROTATION_OVERLAP = { defaultSeconds: 86_400, maxSeconds: 2_592_000 } as const;
