/*-------------------------------------------------------------------------
 *
 * sale.h
 *	  Sales, and the references that name them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_SALE_H
#define BIOLINK_SALE_H

#include "event_store.h"

/* What is known by one or more references of an event. */
typedef struct Sale
{
	char	   *order_id;		/* by which it goes */
	bool		booked;			/* money was taken; the rest is of a booked one only */
	pg_uuid_t	conversion_id;
	char	   *currency;
	bool		is_test;
	Money		money;			/* as it is now */
	int64		taken_back;		/* refunds and disputes less disputes won */
} Sale;

/* What an event's references name: booked sales first, the oldest first. */
typedef struct Sales
{
	int			n;
	int			nbooked;
	Sale	   *sales;
} Sales;

extern void order_turns_take(int64 creator_id, Datum *refs, int nrefs, bool *known);
extern void sales_read(int64 creator_id, Datum *refs, int nrefs, EventSink *sink, Sales *sales);
extern bool sale_had(int64 creator_id, const Sale *sale, int64 amount);
extern void sales_join(const EventRow *row, Datum *refs, int nrefs, const Sales *sales, bool is_sale,
					   const Money *stated, EventSink *sink);

#endif							/* BIOLINK_SALE_H */
