/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  The root key, the keys derived from it, and the states of their epochs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_KEYS_H
#define BIOLINK_KEYS_H

#include "biolink.h"
#include "derive.h"

/* Why a key cannot be had; KEY_OK is the only state in which bytes are given. */
typedef enum KeyState
{
	KEY_OK,
	KEY_UNKNOWN,				/* no such epoch, or no (or another) root key */
	KEY_REVOKED
} KeyState;

extern void keys_init(void);

/*
 * Key of the newest active epoch, for signing, hashing and digests.  Raises
 * 55000 where there is none.  may_create: the caller is going to write, so a
 * root key may be made (and its fingerprint recorded) where none exists yet.
 */
extern void key_for_signing(int64 creator_id, KeyPurpose purpose,
							bool may_create, uint16 *epoch,
							uint8 key[SUBKEY_BYTES]);

/* Key of one epoch, for verification.  Never raises for want of a key. */
extern KeyState key_for_verifying(int64 creator_id, KeyPurpose purpose,
								  uint16 epoch, uint8 key[SUBKEY_BYTES]);

/* Keep what key_for_verifying() gave, now that a tag has verified under it. */
extern void key_verified(int64 creator_id, KeyPurpose purpose, uint16 epoch,
						 const uint8 key[SUBKEY_BYTES]);

#endif							/* BIOLINK_KEYS_H */
