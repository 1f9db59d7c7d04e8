/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the PostgreSQL majors biolink builds on (15 to 18).
 *
 * Owns every test of PG_VERSION_NUM in the project.  A shim keeps the name
 * and the meaning of the newest major, so that it can be deleted together
 * with the last major that needs it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_COMPAT_H
#define BIOLINK_COMPAT_H

#include "postgres.h"
#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "biolink needs PostgreSQL 15 or later"
#endif

/* varlena access macros moved out of postgres.h in 16 */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 reports a module's name and version in pg_get_loaded_modules() */
#if PG_VERSION_NUM >= 180000
#define BIOLINK_MODULE_MAGIC(modname, modversion) \
	PG_MODULE_MAGIC_EXT(.name = modname, .version = modversion)
#else
#define BIOLINK_MODULE_MAGIC(modname, modversion) PG_MODULE_MAGIC
#endif

/* 18 spells the attribute of functions that do not return so, in front */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* from 17 on a wait event of an extension has a name in pg_stat_activity */
#if PG_VERSION_NUM < 170000
#define WaitEventExtensionNew(name) PG_WAIT_EXTENSION
#endif

/* 17 lets one ask for a stronger lock as well; under a name of ours, as a macro would break its declaration */
#if PG_VERSION_NUM >= 170000
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

#endif							/* BIOLINK_COMPAT_H */
