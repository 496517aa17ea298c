import { scenario } from '@holdfast/explore';
import { type Options, Ref } from './ref.ts';

export const freeing = (options: Options) =>
  scenario({
    name: options.waits ? 'free after the last put' : 'free before the last put',
    buffers: { ref: 8, data: 4 },
    setup: ({ ref }) => void Atomics.store(new Int32Array(ref), 0, 1),
    threads: {
      owner: ({ ref, data }) => new Ref(ref, options).free(new Int32Array(data)),
      user({ ref, data }) {
        const mine = new Ref(ref, options);
        if (!mine.tryGet()) return;
        const words = new Int32Array(data);
        if (words[0] === -1) throw new Error('freed while held');
        mine.put();
      },
    },
    options: { timeouts: 'never' },
  });
