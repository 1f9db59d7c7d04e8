-- What Stripe and Shopify send, as events; and that it comes out the same in whatever order and however often it is sent.
\set SHOW_CONTEXT never
CREATE ROLE regress_app; GRANT biolink_app TO regress_app;
SET ROLE regress_app;

-- money and time
SELECT c, biolink.currency_digits(c) FROM unnest('{EUR,usd,JPY,ISK,UGX,XOF,MGA,HUF,TWD,KWD,TND,CLF,XCD,XAU,BTC1,"",€€€}'::text[]) AS c;
SELECT a, c, biolink.minor_units(a, c) FROM (VALUES ('409.94', 'USD'), ('0.00', 'usd'), ('-3.45', 'EUR'), ('5000', 'JPY'), ('5000.00', 'JPY'), ('1.234', 'KWD'), ('1.230', 'EUR'), ('007', 'EUR'),
	('90071992547409.91', 'EUR'), ('0.1', 'EUR'), ('19.99', 'EUR'), ('1.10', 'CLF')) AS v (a, c);
SELECT a, c, biolink.try_minor_units(a, c) FROM (VALUES ('1.234', 'EUR'), ('0.5', 'JPY'), ('1e3', 'EUR'), ('1,000.00', 'EUR'), ('.5', 'EUR'), ('', 'EUR'), ('90071992547409.92', 'EUR'), ('1', 'EURO'), ('1', NULL)) AS v (a, c);
SELECT biolink.minor_units('0.5', 'JPY');
SELECT biolink.minor_units('12,50', 'EUR');
SELECT biolink.minor_units('1', 'dollar');
\echo :LAST_ERROR_SQLSTATE
SELECT t, biolink.unix_milliseconds(t), biolink.utc_time(biolink.unix_milliseconds(t)) FROM unnest('{2008-01-10T11:00:00-05:00,2008-01-10T16:00:00Z,2008-01-10t16:00:00.1234z,1970-01-01T05:30:00+05:30,2024-02-29T23:59:60Z,9999-12-31T23:59:59Z,2023-02-29T00:00:00Z,2023-13-01T00:00:00Z,2023-01-01T24:00:00Z,2023-01-01T00:00:00,2023-01-01,0000-01-01T00:00:00Z,"",now}'::text[]) AS t;
SELECT biolink.utc_time(ms) FROM unnest(ARRAY[0, -1, 1700000000000, 253402300799999, 253402300800000, NULL]::int8[]) AS ms;
SELECT biolink.text_list('b', NULL, '', 'a', 'b'), biolink.text_list(NULL, ''), biolink.identifier_list('email', 'x@y.example', 'email', 'x@y.example', 'phone', NULL, 'customer', 'c1'), biolink.identifier_list('email', NULL);

-- evidence that a shop hands through; what has not the form of ours is left alone
SELECT n, biolink.provider_hints(pairs, reference) FROM (VALUES
	(1, '{"bl": "EAAB5tokentext"}'::jsonb, NULL),
	(2, '{"biolink": "018f2a64-5b1c-7a3e-9c4d-0123456789ab"}', NULL),
	(3, '{"_bl": "tok", "click_id": "018f2a645b1c7a3e9c4d0123456789ab"}', NULL),
	(4, '{"click_id": "Cj0KCQjw-of-an-advertiser"}', 'cart-77'),
	(5, '{}', 'EAAAAQGPKmRbHHo-nE0BI0VniavGAAAAAAAAAAGIAQIDBAUGBwgJCgsMDQ4P'),
	(6, '{"bl": "tok"}', '018f2a64-5b1c-7a3e-9c4d-0123456789ab'),
	(7, '{"bl_visitor": "cookie", "bl_measurement": "denied", "bl_identity": "granted", "bl_export": "maybe", "bl_personalization": true}', NULL),
	(8, '[]', '5f0c1f5a-3b0e-4c9e-9a53-7f0a5c7b2a11'),
	(9, NULL, NULL)) AS v (n, pairs, reference);

-- Stripe: what is told of each message -----------------------------------------

CREATE TEMPORARY TABLE stripe (n int PRIMARY KEY, story text, event jsonb);
GRANT SELECT ON stripe TO PUBLIC;
INSERT INTO stripe
	SELECT v.n, v.story, CASE WHEN v.type IS NULL THEN v.object
		ELSE jsonb_build_object('id', 'evt_' || v.n, 'object', 'event', 'type', v.type, 'created', 1772532000 + v.n, 'livemode', true, 'data', jsonb_build_object('object', v.object)) END
	FROM (VALUES
	-- one sale over a checkout page: four messages, then its charge once more as the API gives it
	(101, 'checkout', 'charge.succeeded', '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 2500, "amount_captured": 2500, "amount_refunded": 0, "captured": true, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532000, "livemode": true, "customer": "cus_1", "billing_details": {"email": "ann@shop.example", "phone": null}, "receipt_email": null, "metadata": {"bl": "018f2a64-5b1c-7a3e-9c4d-0123456789ab"}, "balance_transaction": null, "source_transfer": null}'::jsonb),
	(102, 'checkout', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_1", "latest_charge": "ch_1", "amount": 2500, "amount_received": 2500, "status": "succeeded", "currency": "eur", "created": 1772531900, "livemode": true, "customer": "cus_1", "receipt_email": null, "metadata": {"bl_order_id": "shop-77"}, "payment_details": {"customer_reference": null, "order_reference": "cs_1"}}'),
	(103, 'checkout', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_1", "mode": "payment", "status": "complete", "payment_status": "paid", "payment_intent": "pi_1", "invoice": null, "subscription": null, "amount_total": 2500, "currency": "eur", "created": 1772531800, "livemode": true, "client_reference_id": "EAAAAQGPKmRbHHo-nE0BI0VniavGAAAAAAAAAAGIAQIDBAUGBwgJCgsMDQ4P", "customer": "cus_1", "customer_details": {"email": "ann@shop.example", "phone": "+4915112345678"}, "total_details": {"amount_tax": 399, "amount_shipping": 500, "amount_discount": 0}, "metadata": {}, "discounts": [{"coupon": null, "promotion_code": {"id": "promo_1", "code": "SUMMER"}}], "line_items": {"data": [{"id": "li_1", "price": {"id": "price_1"}, "quantity": 2, "amount_total": 2000, "currency": "eur"}]}}'),
	(104, 'checkout', NULL, '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 2500, "amount_captured": 2500, "amount_refunded": 0, "captured": true, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532000, "livemode": true, "customer": "cus_1", "billing_details": {"email": "ann@shop.example", "phone": null}, "receipt_email": null, "metadata": {"bl": "018f2a64-5b1c-7a3e-9c4d-0123456789ab"}, "balance_transaction": "txn_1", "refunds": null}'),
	-- two partial refunds, told four times; charge.refunded says only how much in all
	(111, 'checkout', 'refund.created', '{"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur", "status": "pending", "reason": "requested_by_customer", "created": 1772600000, "balance_transaction": "txn_2", "metadata": {}}'),
	(112, 'checkout', 'charge.refund.updated', '{"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur", "status": "succeeded", "reason": "requested_by_customer", "created": 1772600000, "balance_transaction": "txn_2", "metadata": {"note": "later"}}'),
	(113, 'checkout', 'charge.refunded', '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 2500, "amount_captured": 2500, "amount_refunded": 500, "captured": true, "refunded": false, "status": "succeeded", "currency": "eur", "created": 1772532000, "livemode": true}'),
	(114, 'checkout', 'refund.created', '{"object": "refund", "id": "re_2", "charge": "ch_1", "payment_intent": "pi_1", "amount": 300, "currency": "eur", "status": "succeeded", "created": 1772600500, "balance_transaction": "txn_3"}'),
	(115, 'checkout', 'charge.refunded', '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 2500, "amount_captured": 2500, "amount_refunded": 800, "captured": true, "refunded": false, "status": "succeeded", "currency": "eur", "created": 1772532000, "livemode": true}'),
	-- before 2022-11-15 the charge brings its refunds: the same facts under the same keys
	(116, 'checkout', 'charge.refunded', '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 2500, "amount_captured": 2500, "amount_refunded": 800, "captured": true, "refunded": false, "status": "succeeded", "currency": "eur", "created": 1772532000, "livemode": true, "refunds": {"object": "list", "data": [{"object": "refund", "id": "re_2", "charge": "ch_1", "payment_intent": "pi_1", "amount": 300, "currency": "eur", "status": "succeeded", "created": 1772600500, "balance_transaction": "txn_3"}, {"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur", "status": "succeeded", "created": 1772600000, "balance_transaction": "txn_2"}]}}'),
	-- a refund that the bank sent back, told by two types of message and without its beginning
	(121, 'refund failed', 'charge.succeeded', '{"object": "charge", "id": "ch_2", "payment_intent": "pi_2", "amount": 700, "amount_captured": 700, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772532100}'),
	(122, 'refund failed', 'refund.failed', '{"object": "refund", "id": "re_3", "charge": "ch_2", "payment_intent": "pi_2", "amount": 700, "currency": "usd", "status": "failed", "failure_reason": "expired_or_canceled_card", "created": 1772600100, "balance_transaction": "txn_4", "failure_balance_transaction": "txn_5"}'),
	(123, 'refund failed', 'charge.refund.updated', '{"object": "refund", "id": "re_3", "charge": "ch_2", "payment_intent": "pi_2", "amount": 700, "currency": "usd", "status": "failed", "failure_reason": "expired_or_canceled_card", "created": 1772600100, "balance_transaction": "txn_4", "failure_balance_transaction": "txn_5"}'),
	(124, 'refund failed', 'refund.created', '{"object": "refund", "id": "re_3", "charge": "ch_2", "payment_intent": "pi_2", "amount": 700, "currency": "usd", "status": "succeeded", "created": 1772600100, "balance_transaction": "txn_4"}'),
	-- disputes: won, told five times; lost; an inquiry; lost but for what had been refunded before
	(131, 'dispute won', 'charge.succeeded', '{"object": "charge", "id": "ch_3", "payment_intent": "pi_3", "amount": 4000, "amount_captured": 4000, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772532200}'),
	(132, 'dispute won', 'charge.dispute.created', '{"object": "dispute", "id": "du_1", "charge": "ch_3", "payment_intent": "pi_3", "amount": 4000, "currency": "usd", "status": "needs_response", "reason": "fraudulent", "created": 1772700000, "balance_transactions": [{"id": "txn_6", "amount": -4000, "currency": "usd", "fee": 1500}]}'),
	(133, 'dispute won', 'charge.dispute.funds_withdrawn', '{"object": "dispute", "id": "du_1", "charge": "ch_3", "payment_intent": "pi_3", "amount": 4000, "currency": "usd", "status": "needs_response", "reason": "fraudulent", "created": 1772700000, "balance_transactions": [{"id": "txn_6", "amount": -4000, "currency": "usd", "fee": 1500}]}'),
	(134, 'dispute won', 'charge.dispute.closed', '{"object": "dispute", "id": "du_1", "charge": "ch_3", "payment_intent": "pi_3", "amount": 4000, "currency": "usd", "status": "won", "reason": "fraudulent", "created": 1772700000, "balance_transactions": [{"id": "txn_6", "amount": -4000, "currency": "usd", "fee": 1500}]}'),
	(135, 'dispute won', 'charge.dispute.funds_reinstated', '{"object": "dispute", "id": "du_1", "charge": "ch_3", "payment_intent": "pi_3", "amount": 4000, "currency": "usd", "status": "won", "reason": "fraudulent", "created": 1772700000, "balance_transactions": [{"id": "txn_6", "amount": -4000, "currency": "usd", "fee": 1500}, {"id": "txn_7", "amount": 4000, "currency": "usd", "fee": -1500}]}'),
	(136, 'dispute lost', 'charge.succeeded', '{"object": "charge", "id": "ch_4", "payment_intent": "pi_4", "amount": 1000, "amount_captured": 1000, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772532300}'),
	(137, 'dispute lost', 'charge.dispute.closed', '{"object": "dispute", "id": "du_2", "charge": "ch_4", "payment_intent": "pi_4", "amount": 1000, "currency": "usd", "status": "lost", "created": 1772700100, "balance_transactions": [{"id": "txn_8", "amount": -1000, "currency": "usd"}]}'),
	(138, 'dispute lost', 'refund.created', '{"object": "refund", "id": "re_4", "charge": "ch_4", "payment_intent": "pi_4", "amount": 400, "currency": "usd", "status": "succeeded", "created": 1772600200, "balance_transaction": "txn_9"}'),
	(139, 'dispute lost', 'charge.dispute.funds_reinstated', '{"object": "dispute", "id": "du_2", "charge": "ch_4", "payment_intent": "pi_4", "amount": 1000, "currency": "usd", "status": "lost", "created": 1772700100, "balance_transactions": [{"id": "txn_8", "amount": -1000, "currency": "usd"}, {"id": "txn_10", "amount": 400, "currency": "usd"}]}'),
	(140, 'inquiry', 'charge.dispute.created', '{"object": "dispute", "id": "du_3", "charge": "ch_4", "payment_intent": "pi_4", "amount": 1000, "currency": "usd", "status": "warning_needs_response", "reason": "general", "created": 1772700200, "balance_transactions": []}'),
	(141, 'inquiry', 'charge.dispute.closed', '{"object": "dispute", "id": "du_3", "charge": "ch_4", "payment_intent": "pi_4", "amount": 1000, "currency": "usd", "status": "warning_closed", "reason": "general", "created": 1772700200, "balance_transactions": []}'),
	-- a payment by bank debit: pending, then paid; another fails
	(151, 'bank debit', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_5", "mode": "payment", "status": "complete", "payment_status": "unpaid", "payment_intent": "pi_5", "amount_total": 1200, "currency": "eur", "created": 1772532400}'),
	(152, 'bank debit', 'payment_intent.processing', '{"object": "payment_intent", "id": "pi_5", "latest_charge": "py_5", "amount": 1200, "amount_received": 0, "status": "processing", "currency": "eur", "created": 1772532390}'),
	(153, 'bank debit', 'charge.pending', '{"object": "charge", "id": "py_5", "payment_intent": "pi_5", "amount": 1200, "amount_captured": 1200, "captured": true, "paid": false, "status": "pending", "currency": "eur", "created": 1772532400}'),
	(154, 'bank debit', 'checkout.session.async_payment_succeeded', '{"object": "checkout.session", "id": "cs_5", "mode": "payment", "status": "complete", "payment_status": "paid", "payment_intent": "pi_5", "amount_total": 1200, "currency": "eur", "created": 1772532400}'),
	(155, 'bank debit', 'charge.succeeded', '{"object": "charge", "id": "py_5", "payment_intent": "pi_5", "amount": 1200, "amount_captured": 1200, "captured": true, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532400}'),
	(156, 'bank debit', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_5", "latest_charge": {"id": "py_5", "created": 1772532400}, "amount": 1200, "amount_received": 1200, "status": "succeeded", "currency": "eur", "created": 1772532390}'),
	(157, 'failed', 'charge.failed', '{"object": "charge", "id": "ch_6", "payment_intent": "pi_6", "amount": 900, "amount_captured": 0, "captured": false, "paid": false, "status": "failed", "currency": "eur", "created": 1772532500}'),
	(158, 'failed', 'payment_intent.payment_failed', '{"object": "payment_intent", "id": "pi_6", "latest_charge": "ch_6", "amount": 900, "amount_received": 0, "status": "requires_payment_method", "currency": "eur", "created": 1772532490, "last_payment_error": {"charge": "ch_6"}}'),
	(159, 'failed', 'checkout.session.async_payment_failed', '{"object": "checkout.session", "id": "cs_6", "mode": "payment", "status": "complete", "payment_status": "unpaid", "payment_intent": "pi_6", "amount_total": 900, "currency": "eur", "created": 1772532480}'),
	-- authorized and captured in part: what is released comes as a refund and never was revenue
	(161, 'captured in part', 'charge.succeeded', '{"object": "charge", "id": "ch_7", "payment_intent": "pi_7", "amount": 1000, "amount_captured": 0, "captured": false, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532600}'),
	(162, 'captured in part', 'payment_intent.amount_capturable_updated', '{"object": "payment_intent", "id": "pi_7", "latest_charge": "ch_7", "amount": 1000, "amount_received": 0, "status": "requires_capture", "currency": "eur", "created": 1772532590}'),
	(163, 'captured in part', 'charge.captured', '{"object": "charge", "id": "ch_7", "payment_intent": "pi_7", "amount": 1000, "amount_captured": 600, "amount_refunded": 400, "captured": true, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532600}'),
	(164, 'captured in part', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_7", "latest_charge": "ch_7", "amount": 1000, "amount_received": 600, "status": "succeeded", "currency": "eur", "created": 1772532590}'),
	(165, 'captured in part', 'refund.created', '{"object": "refund", "id": "re_7", "charge": "ch_7", "payment_intent": "pi_7", "amount": 400, "currency": "eur", "status": "succeeded", "created": 1772610000, "balance_transaction": null}'),
	(166, 'captured in part', 'charge.refunded', '{"object": "charge", "id": "ch_7", "payment_intent": "pi_7", "amount": 1000, "amount_captured": 600, "amount_refunded": 400, "captured": true, "paid": true, "status": "succeeded", "currency": "eur", "created": 1772532600, "refunds": {"data": [{"object": "refund", "id": "re_7", "charge": "ch_7", "payment_intent": "pi_7", "amount": 400, "currency": "eur", "status": "succeeded", "created": 1772610000, "balance_transaction": null}]}}'),
	(167, 'given up', 'charge.expired', '{"object": "charge", "id": "ch_8", "payment_intent": "pi_8", "amount": 1000, "amount_captured": 0, "captured": false, "refunded": true, "status": "succeeded", "currency": "eur", "created": 1772532700}'),
	(168, 'given up', 'payment_intent.canceled', '{"object": "payment_intent", "id": "pi_8", "latest_charge": "ch_8", "amount": 1000, "amount_received": 0, "status": "canceled", "currency": "eur", "created": 1772532690}'),
	(169, 'given up', 'refund.created', '{"object": "refund", "id": "re_8", "charge": "ch_8", "payment_intent": "pi_8", "amount": 1000, "currency": "eur", "status": "succeeded", "reason": "expired_uncaptured_charge", "created": 1772610100, "balance_transaction": null}'),
	-- captured twice
	(171, 'captured twice', 'charge.captured', '{"object": "charge", "id": "ch_9", "payment_intent": "pi_9", "amount": 1000, "amount_captured": 300, "captured": true, "status": "succeeded", "currency": "eur", "created": 1772532800}'),
	(172, 'captured twice', 'charge.captured', '{"object": "charge", "id": "ch_9", "payment_intent": "pi_9", "amount": 1000, "amount_captured": 1000, "captured": true, "status": "succeeded", "currency": "eur", "created": 1772532800}'),
	(173, 'captured twice', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_9", "latest_charge": "ch_9", "amount": 1000, "amount_received": 1000, "status": "succeeded", "currency": "eur", "created": 1772532790}'),
	-- a subscription, versions of the API before 2025-03-31: sale and renewal
	(201, 'subscription', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_10", "mode": "subscription", "status": "complete", "payment_status": "paid", "payment_intent": null, "invoice": "in_10", "subscription": "sub_10", "amount_total": 1900, "currency": "usd", "created": 1772533000, "client_reference_id": "018f2a64-5b1c-7a3e-9c4d-0123456789ab", "customer": "cus_10", "customer_details": {"email": "bob@shop.example"}}'),
	(202, 'subscription', 'invoice.paid', '{"object": "invoice", "id": "in_10", "status": "paid", "paid": true, "paid_out_of_band": false, "billing_reason": "subscription_create", "subscription": "sub_10", "payment_intent": "pi_10", "charge": "ch_10", "amount_due": 1900, "amount_paid": 1900, "currency": "usd", "created": 1772532999, "customer": "cus_10", "customer_email": "bob@shop.example", "customer_phone": null, "tax": 303, "shipping_cost": null, "status_transitions": {"paid_at": 1772533010}, "subscription_details": {"metadata": {"bl_visitor": "cookie-10"}}, "metadata": {}, "discount": null, "lines": {"data": [{"id": "il_10", "amount": 1900, "currency": "usd", "quantity": 1, "price": {"id": "price_10"}}]}}'),
	(203, 'subscription', 'invoice.payment_succeeded', '{"object": "invoice", "id": "in_10", "status": "paid", "paid": true, "paid_out_of_band": false, "billing_reason": "subscription_create", "subscription": "sub_10", "payment_intent": "pi_10", "charge": "ch_10", "amount_due": 1900, "amount_paid": 1900, "currency": "usd", "created": 1772532999, "customer": "cus_10", "customer_email": "bob@shop.example", "customer_phone": null, "tax": 303, "shipping_cost": null, "status_transitions": {"paid_at": 1772533010}, "subscription_details": {"metadata": {"bl_visitor": "cookie-10"}}, "metadata": {}, "discount": null, "lines": {"data": [{"id": "il_10", "amount": 1900, "currency": "usd", "quantity": 1, "price": {"id": "price_10"}}]}}'),
	(204, 'subscription', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_10", "invoice": "in_10", "latest_charge": "ch_10", "amount": 1900, "amount_received": 1900, "status": "succeeded", "currency": "usd", "created": 1772533000}'),
	(205, 'subscription', 'charge.succeeded', '{"object": "charge", "id": "ch_10", "payment_intent": "pi_10", "invoice": "in_10", "amount": 1900, "amount_captured": 1900, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772533005}'),
	(206, 'renewal', 'invoice.paid', '{"object": "invoice", "id": "in_11", "status": "paid", "billing_reason": "subscription_cycle", "subscription": "sub_10", "payment_intent": "pi_11", "charge": "ch_11", "amount_paid": 1900, "currency": "usd", "created": 1775211400, "status_transitions": {"paid_at": 1775215000}}'),
	(207, 'renewal', 'charge.succeeded', '{"object": "charge", "id": "ch_11", "payment_intent": "pi_11", "invoice": "in_11", "amount": 1900, "amount_captured": 1900, "captured": true, "status": "succeeded", "currency": "usd", "created": 1775215000}'),
	-- the same from 2025-03-31 on: the invoice does not name its payment
	(211, 'subscription, basil', 'invoice.paid', '{"object": "invoice", "id": "in_12", "status": "paid", "billing_reason": "subscription_create", "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_12", "metadata": {"bl": "018f2a64-5b1c-7a3e-9c4d-0123456789ab"}}}, "amount_due": 2100, "amount_paid": 2100, "currency": "usd", "created": 1772533100, "total_taxes": [{"amount": 100}, {"amount": 35}], "status_transitions": {"paid_at": 1772533110}, "discounts": ["di_1"], "lines": {"data": [{"id": "il_12", "amount": 2100, "currency": "usd", "quantity": 1, "pricing": {"type": "price_details", "price_details": {"price": "price_12", "product": "prod_12"}}}]}}'),
	(212, 'subscription, basil', 'payment_intent.succeeded', '{"object": "payment_intent", "id": "pi_12", "latest_charge": "ch_12", "amount": 2100, "amount_received": 2100, "status": "succeeded", "currency": "usd", "created": 1772533105, "payment_details": {"order_reference": "in_12"}}'),
	(213, 'subscription, basil', 'charge.succeeded', '{"object": "charge", "id": "ch_12", "payment_intent": "pi_12", "amount": 2100, "amount_captured": 2100, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772533108}'),
	(214, 'subscription, basil', 'invoice_payment.paid', '{"object": "invoice_payment", "id": "inpay_12", "invoice": "in_12", "payment": {"type": "payment_intent", "payment_intent": "pi_12"}, "amount_requested": 2100, "amount_paid": 2100, "currency": "usd", "status": "paid", "created": 1772533101, "status_transitions": {"paid_at": 1772533110}}'),
	(215, 'subscription, basil', NULL, '{"object": "invoice", "id": "in_12", "status": "paid", "billing_reason": "subscription_create", "livemode": true, "amount_paid": 2100, "currency": "usd", "created": 1772533100, "status_transitions": {"paid_at": 1772533110}, "payments": {"data": [{"id": "inpay_12", "object": "invoice_payment", "status": "paid", "amount_paid": 2100, "currency": "usd", "payment": {"type": "payment_intent", "payment_intent": "pi_12"}}]}}'),
	(216, 'paid in two parts', NULL, '{"object": "invoice", "id": "in_13", "status": "paid", "billing_reason": "manual", "livemode": true, "amount_paid": 5000, "currency": "usd", "created": 1772533200, "status_transitions": {"paid_at": 1772533210}, "payments": {"data": [{"id": "inpay_13", "status": "paid", "amount_paid": 3000, "payment": {"type": "payment_intent", "payment_intent": "pi_13"}}, {"id": "inpay_14", "status": "open", "amount_paid": null, "payment": {"type": "payment_intent", "payment_intent": "pi_x"}}, {"id": "inpay_15", "status": "paid", "amount_paid": 2000, "payment": {"type": "payment_record", "payment_record": "pr_15"}}]}}'),
	-- a trial begins without money; it ends with a renewal; an invoice paid past Stripe; one that is not paid
	(221, 'trial', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_16", "mode": "subscription", "status": "complete", "payment_status": "no_payment_required", "payment_intent": null, "invoice": "in_16", "subscription": "sub_16", "amount_total": 0, "currency": "usd", "created": 1772533300}'),
	(222, 'trial', 'invoice.paid', '{"object": "invoice", "id": "in_16", "status": "paid", "billing_reason": "subscription_create", "subscription": "sub_16", "payment_intent": null, "charge": null, "amount_paid": 0, "currency": "usd", "created": 1772533300, "status_transitions": {"paid_at": 1772533300}}'),
	(223, 'all discounted', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_17", "mode": "payment", "status": "complete", "payment_status": "paid", "payment_intent": null, "invoice": null, "amount_total": 0, "currency": "usd", "created": 1772533400}'),
	(224, 'past Stripe', 'invoice.paid', '{"object": "invoice", "id": "in_18", "status": "paid", "paid_out_of_band": true, "billing_reason": "manual", "payment_intent": "pi_18", "charge": null, "amount_due": 4200, "amount_paid": 0, "currency": "usd", "created": 1772533500, "status_transitions": {"paid_at": 1772533550}}'),
	(225, 'not paid', 'invoice.payment_failed', '{"object": "invoice", "id": "in_19", "status": "open", "attempt_count": 2, "billing_reason": "subscription_cycle", "subscription": "sub_10", "payment_intent": "pi_19", "amount_due": 1900, "amount_paid": 0, "currency": "usd", "created": 1772533600, "status_transitions": {"paid_at": null}}'),
	-- charges of old: without a payment intent
	(231, 'charge alone', 'charge.succeeded', '{"object": "charge", "id": "ch_20", "payment_intent": null, "invoice": null, "amount": 3000, "captured": true, "paid": true, "status": "paid", "currency": "usd", "created": 1772533700}'),
	(232, 'charge alone', 'refund.created', '{"object": "refund", "id": "re_20", "charge": "ch_20", "payment_intent": null, "amount": 3000, "currency": "usd", "status": "succeeded", "created": 1772620000, "balance_transaction": "txn_20"}'),
	(233, 'charge alone', 'charge.dispute.created', '{"object": "dispute", "id": "du_20", "charge": "ch_20", "amount": 3000, "currency": "usd", "status": "under_review", "created": 1772630000}'),
	-- connected accounts: the platform's charge is the sale, its transfer is not; a refund of nothing sold
	(241, 'connected', 'charge.succeeded', '{"object": "charge", "id": "ch_21", "payment_intent": "pi_21", "amount": 8000, "amount_captured": 8000, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772533800, "transfer_data": {"destination": "acct_1"}, "application_fee_amount": 800}'),
	(242, 'connected', 'charge.succeeded', '{"object": "charge", "id": "py_21", "payment_intent": null, "source_transfer": "tr_21", "amount": 7200, "amount_captured": 7200, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772533801}'),
	(243, 'connected', 'refund.created', '{"object": "refund", "id": "re_21", "charge": null, "payment_intent": null, "amount": 100, "currency": "usd", "status": "succeeded", "created": 1772620100, "balance_transaction": "txn_21"}'),
	-- what the bank account sees
	(251, 'payout', 'payout.paid', '{"object": "payout", "id": "po_1", "amount": 123400, "currency": "huf", "status": "paid", "arrival_date": 1772800000, "created": 1772700000, "type": "bank_account"}'),
	(252, 'payout', NULL, '{"object": "balance_transaction", "id": "txn_1", "amount": 2500, "fee": 98, "net": 2402, "currency": "eur", "type": "charge", "reporting_category": "charge", "source": "ch_1", "created": 1772532000, "status": "available"}'),
	(253, 'payout', NULL, '{"object": "balance_transaction", "id": "txn_2", "amount": -500, "fee": 0, "net": -500, "currency": "eur", "type": "refund", "source": {"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1"}, "created": 1772600000}'),
	-- test mode
	(261, 'test mode', NULL, '{"object": "event", "type": "charge.succeeded", "created": 1772533900, "livemode": false, "data": {"object": {"object": "charge", "id": "ch_22", "payment_intent": "pi_22", "amount": 5, "amount_captured": 5, "captured": true, "status": "succeeded", "currency": "usd", "created": 1772533900, "metadata": []}}}'),
	(262, 'test mode', NULL, '{"object": "event", "type": "refund.created", "created": 1772533901, "livemode": false, "data": {"object": {"object": "refund", "id": "re_22", "charge": "ch_22", "payment_intent": "pi_22", "amount": 5, "currency": "usd", "status": "succeeded", "created": 1772533901, "balance_transaction": null}}}'),
	-- nothing to tell
	(271, 'nothing', 'customer.created', '{"object": "customer", "id": "cus_1"}'),
	(272, 'nothing', 'charge.updated', '{"object": "charge", "id": "ch_1"}'),
	(273, 'nothing', 'some.future.type', 'null'),
	(274, 'nothing', 'payment_intent.created', '{"object": "payment_intent", "id": "pi_1", "status": "requires_payment_method"}'),
	(275, 'nothing', NULL, '{"object": "payment_intent", "id": "pi_1", "amount": 5, "currency": "usd", "status": "requires_payment_method"}'),
	(276, 'nothing', 'checkout.session.expired', '{"object": "checkout.session", "id": "cs_1", "status": "expired"}'),
	(277, 'nothing', NULL, '{"object": "checkout.session", "id": "cs_1", "status": "open", "payment_status": "unpaid", "amount_total": null}'),
	(278, 'nothing', 'checkout.session.completed', '{"object": "checkout.session", "id": "cs_1", "status": "complete", "mode": "setup", "payment_status": "no_payment_required", "amount_total": null}'),
	(279, 'nothing', NULL, '{"object": "invoice", "id": "in_1", "status": "draft", "amount_paid": 0, "currency": "usd"}'),
	(280, 'nothing', NULL, '{"object": "v2.core.event", "id": "evt_1", "type": "v1.billing.meter.error_report_triggered"}'),
	(281, 'nothing', NULL, '{"object": "list", "data": []}')) AS v (n, story, type, object);

SELECT s.n, e AS event FROM stripe AS s CROSS JOIN LATERAL biolink.from_stripe(s.event) AS e WHERE s.n < 200 ORDER BY s.n, e ->> 'kind', e ->> 'key';
SELECT s.n, e AS event FROM stripe AS s CROSS JOIN LATERAL biolink.from_stripe(s.event) AS e WHERE s.n >= 200 ORDER BY s.n, e ->> 'key', e ->> 'kind';
-- a list is each of its objects; when it was sent is told of none: a message comes again for days, as it was made
SELECT count(*), count(*) FILTER (WHERE e ? 'sent_at') FROM biolink.from_stripe((SELECT jsonb_build_object('object', 'list', 'data', jsonb_agg(s.event ORDER BY s.n)) FROM stripe AS s WHERE s.n BETWEEN 101 AND 104)) AS e;
SELECT e ->> 'occurred_at' AS occurred_at FROM biolink.from_stripe((SELECT s.event FROM stripe AS s WHERE s.n = 102)) AS e;
-- one key, one content, whichever message says it
SELECT e ->> 'key' AS key, count(DISTINCT e) FROM stripe AS s CROSS JOIN LATERAL biolink.from_stripe(s.event) AS e WHERE s.n <> 171 GROUP BY 1 HAVING count(DISTINCT e) > 1;
SELECT count(DISTINCT e ->> 'key') AS keys, count(*) AS told FROM stripe AS s CROSS JOIN LATERAL biolink.from_stripe(s.event) AS e;

-- Stripe's unit is that of ISO 4217 but for three
SELECT v.currency, v.amount, e -> 'amount' AS minor_units, e ->> 'currency' AS code
	FROM (VALUES ('jpy', 500), ('KRW', 500), ('isk', 500), ('ugx', 500), ('mga', 500), ('huf', 1050), ('twd', 1050), ('kwd', 5120), ('tnd', 5120), ('usd', 1099)) AS v (currency, amount)
	CROSS JOIN LATERAL biolink.from_stripe(jsonb_build_object('object', 'charge', 'id', 'ch_c', 'captured', true, 'status', 'succeeded', 'amount', v.amount, 'currency', v.currency)) AS e;

-- what cannot be taken
SELECT * FROM biolink.from_stripe(NULL);
SELECT * FROM biolink.from_stripe('[]');
SELECT * FROM biolink.from_stripe('{}');
SELECT * FROM biolink.from_stripe('{"object": "event"}');
SELECT * FROM biolink.from_stripe('{"object": "event", "type": "charge.succeeded"}');
SELECT * FROM biolink.from_stripe('{"object": "event", "type": "charge.succeeded", "data": {"object": "ch_1"}}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "amount": 5, "currency": "usd"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "currency": "usd"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": "5.00", "currency": "usd"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": 5.5, "currency": "usd"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": 1e30, "currency": "usd"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": 5}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": 5, "currency": "usdc"}');
SELECT * FROM biolink.from_stripe('{"object": "charge", "id": "ch_1", "amount": 55, "currency": "isk"}');
SELECT * FROM biolink.from_stripe('{"type": "refund.created", "data": {"object": {"id": "re_1", "charge": "ch_1", "currency": "usd"}}}');
SELECT * FROM biolink.from_stripe('{"type": "charge.refunded", "data": {"object": {"id": "ch_1", "currency": "usd"}}}');
SELECT * FROM biolink.from_stripe('{"type": "invoice.paid", "data": {"object": {"id": "in_1", "currency": "usd"}}}');
SELECT * FROM biolink.from_stripe('{"type": "checkout.session.completed", "data": {"object": {"id": "cs_1", "currency": "usd"}}}');
SELECT * FROM biolink.from_stripe('{"type": "charge.dispute.created", "data": {"object": {"id": "du_1", "charge": "ch_1", "currency": "usd"}}}');
\echo :LAST_ERROR_SQLSTATE
-- odd but good: types that do not matter, times that are none, little said
SELECT e FROM (VALUES
	('{"object": "charge", "id": "ch_1", "amount": 5, "currency": "usd", "created": "yesterday", "metadata": "bl", "billing_details": [], "customer": 5, "refunds": "none", "invoice": {}}'::jsonb),
	('{"type": "payment_intent.succeeded", "created": 1772532000, "data": {"object": {"id": "pi_1", "amount": 5, "currency": "usd"}}}'),
	('{"type": "checkout.session.completed", "created": 1772532000, "data": {"object": {"id": "cs_1", "payment_intent": {"id": "pi_1", "amount_received": 4, "currency": "usd"}, "amount_total": 5, "currency": "usd", "total_details": null, "discounts": [null, "di_1", {"coupon": {"id": "TEN"}}, {"source": {"coupon": "TWENTY"}}], "line_items": {"data": [{}, "li"]}}}}'),
	('{"type": "charge.dispute.funds_reinstated", "created": 1772532000, "data": {"object": {"id": "du_1", "charge": {"id": "ch_1"}, "amount": 5, "currency": "usd", "balance_transactions": null}}}'),
	('{"object": "invoice", "id": "in_1", "status": "paid", "amount_paid": 5, "currency": "usd", "payments": {"data": [{"payment": {"payment_intent": "pi_1"}}]}, "lines": [], "total_taxes": [{"amount": "x"}], "shipping_cost": {"amount_total": 7}}')) AS v (j)
	CROSS JOIN LATERAL biolink.from_stripe(v.j) AS e;

-- Shopify: what is told of each message ----------------------------------------

CREATE TEMPORARY TABLE shopify (n int PRIMARY KEY, story text, topic text, body jsonb);
GRANT SELECT ON shopify TO PUBLIC;
INSERT INTO shopify VALUES
	-- one order: authorized, paid, then more of it is bought; a part goes back
	(101, 'order', 'orders/create', '{"id": 450789469, "admin_graphql_api_id": "gid://shopify/Order/450789469", "name": "#1001", "test": false, "currency": "USD", "presentment_currency": "USD", "total_price": "409.94", "total_tax": "11.94", "financial_status": "authorized", "source_name": "web", "created_at": "2026-03-10T11:00:00-05:00", "processed_at": "2026-03-10T11:00:00-05:00", "updated_at": "2026-03-10T11:00:01-05:00", "cancelled_at": null, "cancel_reason": null, "email": "bob@shop.example", "contact_email": "bob@shop.example", "phone": null, "customer": {"id": 207119551, "email": "bob@shop.example", "phone": "+16135551234"}, "landing_site": "/?utm_source=instagram&bl=EAAB5tokentext", "checkout_token": "chk_1", "token": "tok_1", "note_attributes": [{"name": "colour", "value": "green"}, {"name": "_bl", "value": "018f2a64-5b1c-7a3e-9c4d-0123456789ab"}, {"name": "bl_order_id", "value": "shop-78"}], "discount_codes": [{"code": "TENOFF", "amount": "10.00", "type": "fixed_amount"}, {"code": "FREESHIP"}], "line_items": [{"id": 1, "sku": "IPOD2008GREEN", "variant_id": 39072856, "price": "199.00", "quantity": 2, "total_discount": "0.00", "discount_allocations": [{"amount": "10.00"}], "properties": [{"name": "_bl_offer_id", "value": "42"}]}, {"id": 2, "sku": "", "variant_id": 49148385, "price": "10.00", "quantity": 1, "total_discount": "0.00"}], "shipping_lines": [{"price": "5.00"}, {"price": "0.00"}]}'),
	(102, 'order', 'orders/paid', '{"id": 450789469, "name": "#1001", "test": false, "currency": "USD", "total_price": "409.94", "total_tax": "11.94", "financial_status": "paid", "source_name": "web", "created_at": "2026-03-10T11:00:00-05:00", "processed_at": "2026-03-10T11:00:00-05:00", "updated_at": "2026-03-10T11:00:05-05:00", "email": "bob@shop.example", "checkout_token": "chk_1", "token": "tok_1"}'),
	(103, 'order', 'orders/updated', '{"id": 450789469, "name": "#1001", "test": false, "currency": "USD", "total_price": "429.94", "total_outstanding": "20.00", "financial_status": "partially_paid", "created_at": "2026-03-10T11:00:00-05:00", "processed_at": "2026-03-10T11:00:00-05:00", "updated_at": "2026-03-11T09:00:00-05:00", "email": "bob@shop.example", "checkout_token": "chk_1", "token": "tok_1"}'),
	(104, 'order', 'orders/edited', '{"order_edit": {"id": 78912328793, "order_id": 450789469, "created_at": "2026-03-11T08:59:00-05:00", "committed_at": "2026-03-11T09:00:00-05:00", "line_items": {"additions": [{"id": 3, "delta": 1}], "removals": []}}}'),
	(105, 'order', 'orders/updated', '{"id": 450789469, "name": "#1001", "test": false, "currency": "USD", "total_price": "429.94", "total_outstanding": "0.00", "financial_status": "paid", "created_at": "2026-03-10T11:00:00-05:00", "processed_at": "2026-03-10T11:00:00-05:00", "updated_at": "2026-03-11T15:00:00+01:00", "email": "bob@shop.example", "checkout_token": "chk_1", "token": "tok_1"}'),
	(106, 'order', 'refunds/create', '{"id": 509562969, "order_id": 450789469, "created_at": "2026-03-12T10:00:00-05:00", "restock": true, "refund_line_items": [{"id": 1, "quantity": 1, "line_item_id": 1, "subtotal": 199.0, "total_tax": 3.98, "restock_type": "return"}], "order_adjustments": [{"kind": "shipping_refund", "amount": "-5.00", "tax_amount": "0.00"}, {"kind": "refund_discrepancy", "amount": "1.98"}], "transactions": [{"id": 179259969, "order_id": 450789469, "kind": "refund", "gateway": "shopify_payments", "status": "pending", "amount": "150.00", "currency": "USD", "created_at": "2026-03-12T10:00:00-05:00", "test": false}, {"id": 179259970, "order_id": 450789469, "kind": "refund", "gateway": "gift_card", "status": "success", "amount": "56.00", "currency": "USD", "created_at": "2026-03-12T10:00:00-05:00", "test": false}]}'),
	(107, 'order', 'order_transactions/create', '{"id": 179259969, "order_id": 450789469, "kind": "refund", "gateway": "shopify_payments", "status": "success", "amount": "150.00", "currency": "USD", "created_at": "2026-03-12T10:00:00-05:00", "processed_at": "2026-03-12T10:05:00-05:00", "test": false}'),
	(108, 'order', 'orders/updated', '{"id": 450789469, "name": "#1001", "test": false, "currency": "USD", "total_price": "429.94", "total_outstanding": "0.00", "financial_status": "partially_refunded", "created_at": "2026-03-10T11:00:00-05:00", "processed_at": "2026-03-10T11:00:00-05:00", "updated_at": "2026-03-12T10:00:02-05:00", "email": "bob@shop.example", "checkout_token": "chk_1", "token": "tok_1", "refunds": [{"id": 509562969, "transactions": [{"id": 179259969, "order_id": 450789469, "kind": "refund", "gateway": "shopify_payments", "status": "success", "amount": "150.00", "currency": "USD", "created_at": "2026-03-12T10:00:00-05:00", "test": false}, {"id": 179259970, "order_id": 450789469, "kind": "refund", "gateway": "gift_card", "status": "success", "amount": "56.00", "currency": "USD", "created_at": "2026-03-12T10:00:00-05:00", "test": false}]}]}'),
	-- goods go back on the shelf, no money moves; a refund that fails; transactions that are no refunds
	(111, 'restock', 'refunds/create', '{"id": 509562970, "order_id": 450789469, "restock": true, "refund_line_items": [{"quantity": 1, "restock_type": "cancel"}], "transactions": []}'),
	(112, 'refund failed', 'refunds/create', '{"id": 509562971, "order_id": 450789469, "transactions": [{"id": 179259971, "kind": "refund", "status": "pending", "amount": "9.94", "currency": "USD", "created_at": "2026-03-13T10:00:00Z"}, {"id": 179259972, "kind": "void", "status": "success", "amount": "9.94", "currency": "USD", "created_at": "2026-03-13T10:00:00Z"}]}'),
	(113, 'refund failed', 'order_transactions/create', '{"id": 179259971, "order_id": 450789469, "kind": "refund", "status": "failure", "amount": "9.94", "currency": "USD", "created_at": "2026-03-13T10:00:00Z"}'),
	(114, 'transactions', 'order_transactions/create', '{"id": 1, "order_id": 450789469, "kind": "authorization", "status": "success", "gateway": "bogus", "amount": "409.94", "currency": "USD", "created_at": "2026-03-10T11:00:00-05:00"}'),
	(115, 'transactions', 'order_transactions/create', '{"id": 2, "order_id": 450789469, "kind": "capture", "status": "pending", "amount": "409.94", "currency": "USD", "created_at": "2026-03-10T11:00:00-05:00"}'),
	(116, 'transactions', 'order_transactions/create', '{"id": 2, "order_id": 450789469, "kind": "capture", "status": "success", "amount": "409.94", "currency": "USD", "created_at": "2026-03-10T11:00:00-05:00"}'),
	(117, 'transactions', 'order_transactions/create', '{"id": 3, "order_id": 450789469, "kind": "sale", "status": "error", "amount": "20.00", "currency": "USD", "created_at": "2026-03-11T11:00:00-05:00"}'),
	(118, 'transactions', 'order_transactions/create', '{"id": 4, "order_id": 450789469, "kind": "void", "status": "success", "amount": "0.00", "currency": "USD", "created_at": "2026-03-11T11:00:00-05:00"}'),
	-- two currencies: the customer's counts, the shop's is kept beside
	(121, 'two currencies', 'orders/paid', '{"id": 5001, "currency": "CAD", "presentment_currency": "JPY", "total_price": "1366.02", "total_price_set": {"shop_money": {"amount": "1366.02", "currency_code": "CAD"}, "presentment_money": {"amount": "150262", "currency_code": "JPY"}}, "total_tax": "125.31", "total_tax_set": {"shop_money": {"amount": "125.31", "currency_code": "CAD"}, "presentment_money": {"amount": "13784", "currency_code": "JPY"}}, "total_shipping_price_set": {"shop_money": {"amount": "9.09", "currency_code": "CAD"}, "presentment_money": {"amount": "1000.00", "currency_code": "JPY"}}, "financial_status": "paid", "created_at": "2026-03-14T10:00:00Z", "updated_at": "2026-03-14T10:00:00Z", "line_items": [{"id": 1, "sku": "BOARD", "price": "620.36", "price_set": {"shop_money": {"amount": "620.36", "currency_code": "CAD"}, "presentment_money": {"amount": "68239", "currency_code": "JPY"}}, "quantity": 2, "discount_allocations": [{"amount": "0.01", "amount_set": {"shop_money": {"amount": "0.01", "currency_code": "CAD"}, "presentment_money": {"amount": "1", "currency_code": "JPY"}}}]}, {"id": 2, "sku": "NOSET", "price": "1.00", "quantity": 1}]}'),
	(122, 'two currencies', 'refunds/create', '{"id": 1, "order_id": 5001, "transactions": [{"id": 77, "order_id": 5001, "kind": "refund", "status": "pending", "amount": "150262", "currency": "JPY", "created_at": "2026-03-15T10:00:00Z"}], "order_adjustments": [{"amount": "1366.02", "kind": "refund_discrepancy"}]}'),
	(123, 'three decimals', 'orders/paid', '{"id": 5002, "currency": "KWD", "total_price": "12.345", "financial_status": "paid", "created_at": "2026-03-14T11:00:00Z", "updated_at": "2026-03-14T11:00:00Z"}'),
	-- cancelled: before it was paid, and after
	(131, 'cancelled', 'orders/cancelled', '{"id": 5003, "currency": "EUR", "total_price": "30.00", "financial_status": "voided", "cancelled_at": "2026-03-14T12:10:00Z", "cancel_reason": "inventory", "created_at": "2026-03-14T12:00:00Z", "updated_at": "2026-03-14T12:10:00Z"}'),
	(132, 'cancelled', 'orders/create', '{"id": 5004, "currency": "EUR", "total_price": "31.00", "financial_status": "paid", "created_at": "2026-03-14T13:00:00Z", "updated_at": "2026-03-14T13:00:00Z"}'),
	(133, 'cancelled', 'orders/cancelled', '{"id": 5004, "currency": "EUR", "total_price": "31.00", "financial_status": "refunded", "cancelled_at": "2026-03-14T13:10:00Z", "cancel_reason": "customer", "created_at": "2026-03-14T13:00:00Z", "updated_at": "2026-03-14T13:10:00Z", "refunds": [{"id": 2, "transactions": [{"id": 78, "kind": "refund", "status": "success", "amount": "31.00", "currency": "EUR", "created_at": "2026-03-14T13:10:00Z"}]}]}'),
	(134, 'cancelled', 'refunds/create', '{"id": 2, "order_id": 5004, "transactions": [{"id": 78, "kind": "refund", "status": "success", "amount": "31.00", "currency": "EUR", "created_at": "2026-03-14T13:10:00Z"}]}'),
	-- chargebacks
	(141, 'dispute won', 'orders/paid', '{"id": 5005, "currency": "USD", "total_price": "100.00", "financial_status": "paid", "created_at": "2026-03-14T14:00:00Z", "updated_at": "2026-03-14T14:00:00Z"}'),
	(142, 'dispute won', 'disputes/create', '{"id": 1052608616, "order_id": 5005, "type": "chargeback", "amount": "100.00", "currency": "USD", "reason": "fraudulent", "status": "needs_response", "initiated_at": "2026-04-01T20:00:00-04:00", "finalized_on": null}'),
	(143, 'dispute won', 'disputes/update', '{"id": 1052608616, "order_id": 5005, "type": "chargeback", "amount": "100.00", "currency": "USD", "reason": "fraudulent", "status": "won", "initiated_at": "2026-04-01T20:00:00-04:00", "finalized_on": "2026-05-01"}'),
	(144, 'inquiry', 'disputes/create', '{"id": 1052608617, "order_id": 5005, "type": "inquiry", "amount": "100.00", "currency": "USD", "status": "needs_response", "initiated_at": "2026-04-02T20:00:00-04:00"}'),
	(145, 'no order', 'disputes/create', '{"dispute": {"id": 1052608618, "order_id": null, "type": "chargeback", "amount": "100.00", "currency": "USD", "status": "won", "initiated_at": "2013-05-03T20:00:00-04:00"}}'),
	(146, 'dispute lost', 'disputes/update', '{"id": 1052608619, "order_id": 5004, "type": "chargeback", "amount": "5.00", "currency": "EUR", "status": "lost", "initiated_at": "2026-04-03T20:00:00-04:00"}'),
	-- a test order, a recurring one, one of nothing
	(151, 'test order', 'orders/paid', '{"id": 5006, "test": true, "currency": "USD", "total_price": "1.00", "financial_status": "paid", "created_at": "2026-03-14T15:00:00Z", "updated_at": "2026-03-14T15:00:00Z"}'),
	(152, 'test order', 'refunds/create', '{"id": 3, "order_id": 5006, "transactions": [{"id": 79, "kind": "refund", "status": "success", "amount": "1.00", "currency": "USD", "created_at": "2026-03-14T15:10:00Z", "test": true}]}'),
	(153, 'recurring', 'orders/create', '{"id": 5007, "source_name": "subscription_contract", "currency": "USD", "total_price": "9.00", "financial_status": "paid", "created_at": "2026-03-14T16:00:00Z", "updated_at": "2026-03-14T16:00:00Z"}'),
	(154, 'free', 'orders/paid', '{"id": 5008, "currency": "USD", "total_price": "0.00", "financial_status": "paid", "created_at": "2026-03-14T17:00:00Z", "updated_at": "2026-03-14T17:00:00Z"}'),
	(155, 'paid says the topic', 'orders/paid', '{"order": {"id": 5009, "currency": "USD", "total_price": "8.00", "financial_status": "authorized", "created_at": "2026-03-14T18:00:00Z", "updated_at": "2026-03-14T18:00:00Z"}}'),
	-- nothing to tell
	(161, 'nothing', 'customers/create', '{"id": 1}'),
	(162, 'nothing', 'some/topic', 'null'),
	(163, 'nothing', 'ORDERS/FULFILLED', '[]');

SELECT s.n, e AS event FROM shopify AS s CROSS JOIN LATERAL biolink.from_shopify(s.topic, s.body) AS e ORDER BY s.n, e ->> 'key', e ->> 'kind';
-- one key, one content; of an order, one content for each revision
SELECT e ->> 'key' AS key, count(DISTINCT e) FROM shopify AS s CROSS JOIN LATERAL biolink.from_shopify(s.topic, s.body) AS e GROUP BY 1, e ->> 'revision' HAVING count(DISTINCT e) > 1;
-- later is higher, also within a second
SELECT f, e -> 'revision' FROM (VALUES (1, 'pending', '2026-03-10T11:00:00Z'), (2, 'paid', '2026-03-10T11:00:00Z'), (3, 'refunded', '2026-03-10T11:00:00Z'), (4, 'paid', '2026-03-10T12:00:01+01:00')) AS v (n, f, t)
	CROSS JOIN LATERAL biolink.from_shopify('orders/updated', jsonb_build_object('id', 1, 'currency', 'EUR', 'total_price', '1', 'financial_status', f, 'updated_at', t)) AS e ORDER BY n;

-- what cannot be taken
SELECT * FROM biolink.from_shopify(NULL, '{}');
SELECT * FROM biolink.from_shopify('orders/paid', NULL);
SELECT * FROM biolink.from_shopify('orders/paid', '[]');
SELECT * FROM biolink.from_shopify('orders/paid', '{}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "currency": "EUR"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5.00"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5.001", "currency": "EUR"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5,00", "currency": "EUR"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5.00", "currency": "euro"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5.00", "currency": "EUR", "created_at": "10/03/2026"}');
SELECT * FROM biolink.from_shopify('orders/paid', '{"id": 1, "total_price": "5.00", "currency": "EUR", "updated_at": "2026-02-30T00:00:00Z"}');
SELECT * FROM biolink.from_shopify('refunds/create', '{"id": 1, "order_id": 2, "transactions": [{"id": 3, "kind": "refund", "amount": "5.00"}]}');
SELECT * FROM biolink.from_shopify('refunds/create', '{"id": 1, "transactions": [{"id": 3, "kind": "refund", "amount": "5.00", "currency": "EUR"}]}');
SELECT * FROM biolink.from_shopify('refunds/create', '{"id": 1, "order_id": 2, "transactions": [{"kind": "refund", "amount": "5.00", "currency": "EUR"}]}');
SELECT * FROM biolink.from_shopify('order_transactions/create', '{"id": 1, "order_id": 2, "kind": "sale", "currency": "EUR"}');
SELECT * FROM biolink.from_shopify('disputes/create', '{"id": 1, "order_id": 2, "currency": "EUR"}');
\echo :LAST_ERROR_SQLSTATE
-- odd but good
SELECT e FROM biolink.from_shopify('orders/paid', '{"id": "1", "total_price": 5.5, "currency": "eur", "note_attributes": {"bl": "tok"}, "line_items": [null, {}, {"id": 7, "quantity": "x", "price": "y"}], "shipping_lines": {}, "discount_codes": [null], "refunds": [null, {"transactions": {}}], "customer": null, "landing_site": ""}') AS e;

-- handed to track(): in any order and twice, the books are the same -------------

INSERT INTO biolink.creator (creator_id, handle) VALUES (7301, 'providers_1'), (7302, 'providers_2'), (7303, 'providers_3'), (7304, 'providers_4'), (7305, 'providers_5'), (7306, 'providers_6');
CREATE TEMPORARY TABLE answer (creator_id int8, n int, key text, status text, detail text);
DO $$
DECLARE
	message record;
BEGIN
	FOR creator IN 7301 .. 7306 LOOP
		FOR message IN
			SELECT m.n, m.event FROM (
				SELECT s.n, e AS event FROM stripe AS s CROSS JOIN LATERAL biolink.from_stripe(s.event) AS e
				UNION ALL
				SELECT 1000 + s.n, e FROM shopify AS s CROSS JOIN LATERAL biolink.from_shopify(s.topic, s.body) AS e) AS m
			CROSS JOIN generate_series(1, 2) AS times
			ORDER BY
				CASE creator WHEN 7301 THEN m.n WHEN 7302 THEN -m.n END,
				CASE WHEN creator > 7302 THEN md5(concat(creator, times, m.n, m.event ->> 'key')) END, m.event ->> 'kind' DESC, times
		LOOP
			INSERT INTO answer SELECT creator, message.n, message.event ->> 'key', t.status, t.detail FROM biolink.track(creator, message.event) AS t;
		END LOOP;
	END LOOP;
END
$$;
-- as they were sent
SELECT a.n, a.key, string_agg(a.status || COALESCE(' (' || a.detail || ')', ''), ', ') AS answers FROM answer AS a WHERE a.creator_id = 7301 AND a.status NOT IN ('inserted', 'duplicate', 'merged') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT l.order_id, sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision')) AS gross, -sum(l.amount) FILTER (WHERE l.kind NOT IN ('order', 'revision')) AS taken_back, sum(l.amount) AS net, l.currency, l.is_test
	FROM biolink.ledger AS l WHERE l.creator_id = 7301 GROUP BY l.order_id, l.currency, l.is_test ORDER BY l.order_id;
-- the other orders of arrival
WITH books AS (
	SELECT l.creator_id, l.order_id, l.currency, l.is_test, sum(l.amount) FILTER (WHERE l.kind IN ('order', 'revision')) AS gross, sum(l.amount) AS net
		FROM biolink.ledger AS l WHERE l.creator_id BETWEEN 7301 AND 7306 GROUP BY 1, 2, 3, 4
)
SELECT b.order_id, array_agg(DISTINCT b.net) AS nets, array_agg(DISTINCT b.gross) AS gross FROM books AS b GROUP BY b.order_id, b.currency, b.is_test
	HAVING count(DISTINCT b.net) > 1 OR count(DISTINCT b.gross) > 1 OR count(*) <> 6;
SELECT DISTINCT p.kind, p.reason, p.event ->> 'key' AS key FROM biolink.event_parked AS p WHERE p.creator_id BETWEEN 7301 AND 7306 ORDER BY 1, 2, 3;
-- what came late happened when it happened
SELECT count(*) FROM biolink.event AS e WHERE e.creator_id BETWEEN 7301 AND 7306 AND 'skew_corrected' = ANY (e.flags);
-- nothing of a person is kept
SELECT count(*) FROM biolink.event AS e WHERE e.creator_id BETWEEN 7301 AND 7306 AND e::text ~ '@';
RESET ROLE;
SELECT rule, ok, failures FROM biolink.integrity_check(7301);
SELECT count(*) FILTER (WHERE ok), count(*) FROM (SELECT c.* FROM generate_series(7302, 7306) AS i CROSS JOIN LATERAL biolink.integrity_check(i) AS c) AS c;

DROP TABLE stripe, shopify, answer;
DROP ROLE regress_app;
