/*-------------------------------------------------------------------------
 *
 * fuzz_agent.c
 *	  Fuzzer of agent_core.c and channel_core.c: what holds for every agent,
 *	  header and source of a visit.
 *
 * An input is taken whole for an agent, and by lines for utm_source,
 * utm_medium, platform, referrer's host and the name of a click id.
 *
 *-------------------------------------------------------------------------
 */
#include "agent_core.h"
#include "channel_core.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS	5

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

/* is_one_of looks a word up in a list joined by spaces. */
static bool
is_one_of(const char *word, const char *list)
{
	size_t		len = strlen(word);

	for (const char *p = list; (p = strstr(p, word)) != NULL; p++)
	{
		if ((p == list || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
			return true;
	}
	return false;
}

/* check_agent classifies an agent, and the same in upper case. */
static void
check_agent(const char *agent, size_t len, AgentClass *result)
{
	char	   *upper = malloc(len > 0 ? len : 1);
	AgentClass	again;

	agent_classify(agent, len, result);
	CHECK(is_one_of(result->device, "phone tablet desktop tv console wearable other"));
	CHECK(result->os != NULL && result->browser != NULL);
	CHECK(result->is_bot == (result->reason != NULL));
	CHECK(result->reason == NULL ||
		  is_one_of(result->reason, "crawler preview monitor library headless empty_agent"));

	for (size_t i = 0; i < len; i++)
		upper[i] = agent[i] >= 'a' && agent[i] <= 'z' ? (char) (agent[i] - 0x20) : agent[i];
	agent_classify(upper, len, &again);
	CHECK(again.device == result->device && again.os == result->os && again.browser == result->browser &&
		  again.app == result->app && again.reason == result->reason);
	free(upper);
}

/* check_name looks at a channel or medium. */
static void
check_name(const char *name)
{
	size_t		len = strlen(name);

	CHECK(len > 0 && len <= CHANNEL_MAX_BYTES);
	CHECK(name[0] != ' ' && name[len - 1] != ' ');
	for (size_t i = 0; i < len;)
	{
		size_t		step = url_utf8_length(name + i, len - i);

		CHECK(step > 0 && (unsigned char) name[i] >= 0x20 && name[i] != 0x7f);
		CHECK(name[i] < 'A' || name[i] > 'Z');
		i += step;
	}
}

/* check_channel resolves a channel, and that channel again. */
static void
check_channel(const Slice *field, const char *app)
{
	ChannelInput input = {0};
	ChannelResult result;
	ChannelResult again;
	bool		paid = false;

	input.utm_source = field[0];
	input.utm_medium = field[1];
	input.platform = field[2];
	input.referrer_host = field[3];
	input.app = app;
	if (channel_click_id(field[4].data, field[4].len, &input.click_id_platform, &paid))
		CHECK(input.click_id_platform != NULL);
	input.click_id_paid = paid;

	channel_resolve(&input, &result);
	check_name(result.channel);
	check_name(result.medium);
	CHECK(is_one_of(result.evidence, "utm_source platform click_id app referrer direct"));
	if (strcmp(result.evidence, "referrer") == 0)
		CHECK(!channel_payment_host(field[3].data, field[3].len));
	if (strcmp(result.evidence, "direct") == 0)
		CHECK(strcmp(result.channel, "direct") == 0);

	if (strcmp(result.evidence, "utm_source") == 0)
	{
		memset(&input, 0, sizeof(input));
		input.utm_source = (Slice) {result.channel, strlen(result.channel)};
		input.utm_medium = (Slice) {result.medium, strlen(result.medium)};
		channel_resolve(&input, &again);
		CHECK(strcmp(again.channel, result.channel) == 0 && strcmp(again.medium, result.medium) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	Slice		field[FIELDS];
	AgentClass	agent;
	size_t		start = 0;

	check_agent(text, size, &agent);
	for (int i = 0; i < FIELDS; i++)
	{
		size_t		end = start;

		while (end < size && text[end] != '\n')
			end++;
		field[i].data = end > start ? text + start : NULL;
		field[i].len = end - start;
		start = end < size ? end + 1 : end;
	}
	check_channel(field, agent.app);
	agent_header_is_prefetch(field[0].data, field[0].len, field[1].data, field[1].len);
	return 0;
}
