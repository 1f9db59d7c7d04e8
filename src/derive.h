/*-------------------------------------------------------------------------
 *
 * derive.h
 *	  Key derivation, tags and hashes of the biolink v1 formats.
 *
 * Pure: libsodium only, no PostgreSQL, so that it can be fuzzed and tested
 * on its own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_DERIVE_H
#define BIOLINK_DERIVE_H

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOT_KEY_BYTES		32
#define SUBKEY_BYTES		32
#define TAG_BYTES			16
#define SIGNATURE_BYTES		64
#define SECRET_KEY_BYTES	64	/* Ed25519 seed followed by the public key */
#define PUBLIC_KEY_BYTES	32
#define FINGERPRINT_BYTES	16
#define DERIVED_HASH_BYTES	16

typedef enum KeyPurpose
{
	PURPOSE_TOKEN,
	PURPOSE_TOKEN_ED25519,
	PURPOSE_IDENTITY,
	PURPOSE_PASETO,
	PURPOSE_WEBHOOK,
	PURPOSE_SEAL,
	PURPOSE_DIGEST,
	PURPOSE_DAY,
	NUM_KEY_PURPOSES
} KeyPurpose;

/* A run of bytes; data may be NULL only when len is 0. */
typedef struct Bytes
{
	const void *data;
	size_t		len;
} Bytes;

/*
 * A key made ready for hashing: the blocks that depend on the key alone are
 * done, which is two of the five that a token's tag takes.
 */
typedef struct HashKey
{
	crypto_auth_hmacsha256_state state;
} HashKey;

extern const char *key_purpose_name(KeyPurpose purpose);
extern bool key_purpose_by_name(const char *name, KeyPurpose *purpose);

/* Pre-authentication encoding: its length, and the bytes themselves (out has room for them). */
extern size_t pae_length(const Bytes *pieces, int npieces);
extern void pae_write(const Bytes *pieces, int npieces, uint8_t *out);

extern void derive_subkey(const uint8_t root[ROOT_KEY_BYTES], KeyPurpose purpose,
						  uint64_t creator_id, uint16_t epoch,
						  uint8_t subkey[SUBKEY_BYTES]);

/* Public name of a root key: tells two apart, reveals nothing of either. */
extern void derive_fingerprint(const uint8_t root[ROOT_KEY_BYTES],
							   uint8_t fingerprint[FINGERPRINT_BYTES]);

/* Ed25519 secret and public key of a subkey that is a seed. */
extern void derive_key_pair(const uint8_t seed[SUBKEY_BYTES],
							uint8_t secret_key[SECRET_KEY_BYTES],
							uint8_t public_key[PUBLIC_KEY_BYTES]);

/* First 16 bytes of HMAC-SHA-256(key, PAE(pieces...)), in two steps. */
extern void hash_key_prepare(const uint8_t key[SUBKEY_BYTES], HashKey *hash_key);
extern void hash_key_hash16(const HashKey *hash_key,
							const Bytes *pieces, int npieces,
							uint8_t out[DERIVED_HASH_BYTES]);

/* idhash of a normalised identifier: PAE("bl1.id", kind, SHA-256(value)). */
extern void derive_idhash(const HashKey *identity_key,
						  const char *kind, size_t kind_len,
						  const uint8_t sha256[32],
						  uint8_t out[DERIVED_HASH_BYTES]);

extern void sha256_of(const void *data, size_t len, uint8_t out[32]);

#endif							/* BIOLINK_DERIVE_H */
