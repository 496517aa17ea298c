import { explore } from '@holdfast/explore/vite';

export default { plugins: [explore()], test: { setupFiles: ['@holdfast/explore/vitest'] } };
