/**
 * The inventory: what a store says of repositories, beside the database, so that a lost database can be made again.
 * The database alone decides what is there; the inventory follows it.
 */
export type { Inventory, InventoryEntry } from './inventory.ts'
export { S3Inventory } from './s3-inventory.ts'
