/*-------------------------------------------------------------------------
 *
 * job_lock.h
 *	  The locks that give every job one runner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_JOB_LOCK_H
#define BIOLINK_JOB_LOCK_H

extern void job_lock_init(void);

#endif							/* BIOLINK_JOB_LOCK_H */
