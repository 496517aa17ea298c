import { explore } from '@holdfast/explore/vite';
import { defineConfig } from 'vitest/config';

// Named one by one: what the fixture imports of the explorer itself is not to be transformed.
export default defineConfig({
  cacheDir: '../../../../../node_modules/.vite',
  plugins: [explore({ include: ['src', 'cells.test.ts'] })],
});
