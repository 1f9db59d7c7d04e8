/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The background worker that runs jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_WORKER_H
#define BIOLINK_WORKER_H

extern void worker_init(void);
extern void worker_wake_at_commit(void);

#endif							/* BIOLINK_WORKER_H */
