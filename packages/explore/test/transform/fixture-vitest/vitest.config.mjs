import { explore } from '@holdfast/explore/vite';
import { defineConfig } from 'vitest/config';

// The fixture lies inside the explorer's own package, which is left out by default.
export default defineConfig({
  cacheDir: '../../../../../node_modules/.vite',
  plugins: [explore({ include: ['src', 'cells.test.ts'] })],
});
