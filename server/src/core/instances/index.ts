/**
 * The processes that work on one database at the same time, and which of them are alive. Nothing that a client was
 * promised depends on it: a process that is taken for gone, and is not, is refused where it comes too late.
 */
export { INSTANCES_TABLE } from './instance-rows.ts'
export { type Instance, joinInstances } from './instances.ts'
export { instanceMigrations } from './migrations.ts'
