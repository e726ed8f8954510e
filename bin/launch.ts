import { BUNDLE_FOLDER, isBundleCurrent, ROOT } from './bundle-inputs.ts'

// What is edited is what runs; the bundle only makes a start of unchanged sources faster.
await import(isBundleCurrent() ? `${BUNDLE_FOLDER}/main.js` : `${ROOT}cli/src/main.ts`)
