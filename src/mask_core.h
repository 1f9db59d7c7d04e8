/*-------------------------------------------------------------------------
 *
 * mask_core.h
 *	  Finding what looks like an email address or a phone number in a text.
 *
 * Pure: no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_MASK_CORE_H
#define BIOLINK_MASK_CORE_H

#include <stdbool.h>
#include <stddef.h>

/* Longest replacement per input byte: "[email]" stands for at least 5 bytes, "[phone]" for at least 8. */
#define MASK_BOUND(len)		((len) * 2 + 8)

/*
 * Copy text to out with every email address replaced by "[email]" and every
 * phone number by "[phone]"; returns the length written.  out and scratch have
 * room for MASK_BOUND(len) each.  Equal lengths and bytes mean that nothing was
 * found; masking what was masked changes nothing.
 */
extern size_t mask_text(const char *text, size_t len, char *out, char *scratch);

#endif							/* BIOLINK_MASK_CORE_H */
