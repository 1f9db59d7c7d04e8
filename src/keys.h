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

/*
 * Define the settings and reserve their prefix.  To be called last in
 * _PG_init: settings defined later would lose what the configuration says.
 */
extern void keys_init(void);

/*
 * Key of the newest active epoch, for signing, hashing and digests.  Raises
 * 55000 where there is none.  may_create: the caller is going to write, so a
 * root key may be made (and its fingerprint recorded) where none exists yet.
 * What is returned is ready for hashing and stays valid until another key is
 * asked for.
 */
extern const HashKey *hash_key_for_signing(int64 creator_id, KeyPurpose purpose,
										   bool may_create, uint16 *epoch);

/* The same for a purpose whose key is an Ed25519 seed; the expansion is cached. */
extern void secret_key_for_signing(int64 creator_id, KeyPurpose purpose,
								   bool may_create, uint16 *epoch,
								   uint8 secret_key[SECRET_KEY_BYTES]);

/*
 * A key that never changes, for hashes that have to be found again for ever
 * and that nothing but finding depends on.
 */
extern const HashKey *hash_key_for_ever(int64 creator_id, KeyPurpose purpose,
										bool may_create);

/* Key of one epoch, for verification.  Never raises for want of a key. */
extern KeyState hash_key_for_verifying(int64 creator_id, KeyPurpose purpose,
									   uint16 epoch, const HashKey **hash_key);

/* The same for a purpose whose key is an Ed25519 seed. */
extern KeyState public_key_for_verifying(int64 creator_id, KeyPurpose purpose,
										 uint16 epoch,
										 uint8 public_key[PUBLIC_KEY_BYTES]);

/*
 * Keep what the last call of one of these two gave, now that a tag has
 * verified under it; does nothing when it came from the cache.  key is what
 * was given, or NULL for a hash key.
 */
extern void key_verified(int64 creator_id, KeyPurpose purpose, uint16 epoch,
						 const uint8 *key);

/* Overwrite key material that is no longer needed. */
extern void key_wipe(void *data, size_t len);

#endif							/* BIOLINK_KEYS_H */
