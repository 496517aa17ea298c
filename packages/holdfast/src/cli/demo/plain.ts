/** plain: the same hashes by the ordinary way, reading the file: what the demo is measured by. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

export interface PlainHashes {
  /** SHA-256 of the file. */
  readonly sum: string;
  /** SHA-256 of each block. */
  readonly digests: readonly string[];
}

/** Reads a file from its begin to its end. */
export async function plainHashes(file: string, blockBytes: number, signal: AbortSignal): Promise<PlainHashes> {
  const whole = createHash('sha256');
  const digests: string[] = [];
  const handle = await open(file);
  try {
    const buffer = Buffer.allocUnsafe(blockBytes);
    for (;;) {
      signal.throwIfAborted();
      const bytes = buffer.subarray(0, await fill(handle, buffer));
      if (bytes.length === 0) break;
      whole.update(bytes);
      digests.push(createHash('sha256').update(bytes).digest('hex'));
    }
  } finally {
    await handle.close();
  }
  return { sum: whole.digest('hex'), digests };
}

/** Reads until the buffer is full or the file at its end. */
async function fill(handle: Awaited<ReturnType<typeof open>>, buffer: Buffer): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
