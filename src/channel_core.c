/*-------------------------------------------------------------------------
 *
 * channel_core.c
 *	  Which channel, medium and platform a visit or click came through.
 *
 * Owns the built-in names: platforms with their kind, the aliases of
 * utm_source, the hosts of referrers, click ids and payment providers.
 * Tables of the database (utm_alias, referrer_rule) are applied before.
 *
 * Invariants:
 *	- no allocation, no locale, no static state, linear time;
 *	- results are valid UTF-8 without control characters, ASCII letters in
 *	  lower case, cut at a character's end at CHANNEL_MAX_BYTES, and never
 *	  empty;
 *	- a host is compared label by label: "notfacebook.com" is not Facebook,
 *	  "google.evil.example" is not Google.
 *
 *-------------------------------------------------------------------------
 */
#include "channel_core.h"

#include <string.h>

/* What kind of place a platform is: gives the medium where none is stated. */
typedef enum Kind
{
	KIND_SOCIAL,
	KIND_SEARCH,
	KIND_EMAIL,
	KIND_AFFILIATE,
	KIND_REFERRAL
} Kind;

static const char *const kind_media[] = {
	"social", "organic", "email", "affiliate", "referral"
};

/* A name that channels are known by.  is_platform: not for "email", which is no place of its own. */
typedef struct Platform
{
	const char *name;
	unsigned char kind;
	unsigned char is_platform;
} Platform;

typedef enum PlatformId
{
	AMAZON, AWIN, BAIDU, BEHANCE, BING, BLUESKY, BRAVE, CHATGPT, CJ, CLAUDE,
	CLUBHOUSE, COPILOT, CRITEO, DEVIANTART, DISCORD, DRIBBBLE, DUCKDUCKGO,
	ECOSIA, EMAIL, FACEBOOK, FLIPBOARD, GEMINI, GITHUB, GOOGLE, GOOGLE_PLUS,
	HACKERNEWS, IMPACT, INSTAGRAM, KAGI, KAKAOTALK, LINE, LINKEDIN, MASTODON,
	MEDIUM, MESSENGER, NAVER, OUTBRAIN, PATREON, PERPLEXITY, PINTEREST, QQ,
	QUORA, QWANT, RAKUTEN, REDDIT, SEZNAM, SHAREASALE, SLACK, SNAPCHAT,
	SOUNDCLOUD, SPOTIFY, STACKOVERFLOW, STARTPAGE, SUBSTACK, TABOOLA, TEAMS,
	TELEGRAM, THREADS, TIKTOK, TRADEDOUBLER, TUMBLR, TWITCH, TWITTER, VIBER,
	VIMEO, VK, WECHAT, WEIBO, WHATSAPP, XING, YAHOO, YANDEX, YOUTUBE,
	NUM_PLATFORMS,
	NO_PLATFORM = NUM_PLATFORMS
} PlatformId;

static const Platform platforms[NUM_PLATFORMS] = {
	[AMAZON] = {"amazon", KIND_REFERRAL, 1},
	[AWIN] = {"awin", KIND_AFFILIATE, 1},
	[BAIDU] = {"baidu", KIND_SEARCH, 1},
	[BEHANCE] = {"behance", KIND_SOCIAL, 1},
	[BING] = {"bing", KIND_SEARCH, 1},
	[BLUESKY] = {"bluesky", KIND_SOCIAL, 1},
	[BRAVE] = {"brave", KIND_SEARCH, 1},
	[CHATGPT] = {"chatgpt", KIND_REFERRAL, 1},
	[CJ] = {"cj", KIND_AFFILIATE, 1},
	[CLAUDE] = {"claude", KIND_REFERRAL, 1},
	[CLUBHOUSE] = {"clubhouse", KIND_SOCIAL, 1},
	[COPILOT] = {"copilot", KIND_REFERRAL, 1},
	[CRITEO] = {"criteo", KIND_REFERRAL, 1},
	[DEVIANTART] = {"deviantart", KIND_SOCIAL, 1},
	[DISCORD] = {"discord", KIND_SOCIAL, 1},
	[DRIBBBLE] = {"dribbble", KIND_SOCIAL, 1},
	[DUCKDUCKGO] = {"duckduckgo", KIND_SEARCH, 1},
	[ECOSIA] = {"ecosia", KIND_SEARCH, 1},
	[EMAIL] = {"email", KIND_EMAIL, 0},
	[FACEBOOK] = {"facebook", KIND_SOCIAL, 1},
	[FLIPBOARD] = {"flipboard", KIND_SOCIAL, 1},
	[GEMINI] = {"gemini", KIND_REFERRAL, 1},
	[GITHUB] = {"github", KIND_REFERRAL, 1},
	[GOOGLE] = {"google", KIND_SEARCH, 1},
	[GOOGLE_PLUS] = {"google_plus", KIND_SOCIAL, 1},
	[HACKERNEWS] = {"hackernews", KIND_SOCIAL, 1},
	[IMPACT] = {"impact", KIND_AFFILIATE, 1},
	[INSTAGRAM] = {"instagram", KIND_SOCIAL, 1},
	[KAGI] = {"kagi", KIND_SEARCH, 1},
	[KAKAOTALK] = {"kakaotalk", KIND_SOCIAL, 1},
	[LINE] = {"line", KIND_SOCIAL, 1},
	[LINKEDIN] = {"linkedin", KIND_SOCIAL, 1},
	[MASTODON] = {"mastodon", KIND_SOCIAL, 1},
	[MEDIUM] = {"medium", KIND_SOCIAL, 1},
	[MESSENGER] = {"messenger", KIND_SOCIAL, 1},
	[NAVER] = {"naver", KIND_SEARCH, 1},
	[OUTBRAIN] = {"outbrain", KIND_REFERRAL, 1},
	[PATREON] = {"patreon", KIND_SOCIAL, 1},
	[PERPLEXITY] = {"perplexity", KIND_REFERRAL, 1},
	[PINTEREST] = {"pinterest", KIND_SOCIAL, 1},
	[QQ] = {"qq", KIND_SOCIAL, 1},
	[QUORA] = {"quora", KIND_SOCIAL, 1},
	[QWANT] = {"qwant", KIND_SEARCH, 1},
	[RAKUTEN] = {"rakuten", KIND_AFFILIATE, 1},
	[REDDIT] = {"reddit", KIND_SOCIAL, 1},
	[SEZNAM] = {"seznam", KIND_SEARCH, 1},
	[SHAREASALE] = {"shareasale", KIND_AFFILIATE, 1},
	[SLACK] = {"slack", KIND_SOCIAL, 1},
	[SNAPCHAT] = {"snapchat", KIND_SOCIAL, 1},
	[SOUNDCLOUD] = {"soundcloud", KIND_SOCIAL, 1},
	[SPOTIFY] = {"spotify", KIND_SOCIAL, 1},
	[STACKOVERFLOW] = {"stackoverflow", KIND_SOCIAL, 1},
	[STARTPAGE] = {"startpage", KIND_SEARCH, 1},
	[SUBSTACK] = {"substack", KIND_SOCIAL, 1},
	[TABOOLA] = {"taboola", KIND_REFERRAL, 1},
	[TEAMS] = {"teams", KIND_SOCIAL, 1},
	[TELEGRAM] = {"telegram", KIND_SOCIAL, 1},
	[THREADS] = {"threads", KIND_SOCIAL, 1},
	[TIKTOK] = {"tiktok", KIND_SOCIAL, 1},
	[TRADEDOUBLER] = {"tradedoubler", KIND_AFFILIATE, 1},
	[TUMBLR] = {"tumblr", KIND_SOCIAL, 1},
	[TWITCH] = {"twitch", KIND_SOCIAL, 1},
	[TWITTER] = {"twitter", KIND_SOCIAL, 1},
	[VIBER] = {"viber", KIND_SOCIAL, 1},
	[VIMEO] = {"vimeo", KIND_SOCIAL, 1},
	[VK] = {"vk", KIND_SOCIAL, 1},
	[WECHAT] = {"wechat", KIND_SOCIAL, 1},
	[WEIBO] = {"weibo", KIND_SOCIAL, 1},
	[WHATSAPP] = {"whatsapp", KIND_SOCIAL, 1},
	[XING] = {"xing", KIND_SOCIAL, 1},
	[YAHOO] = {"yahoo", KIND_SEARCH, 1},
	[YANDEX] = {"yandex", KIND_SEARCH, 1},
	[YOUTUBE] = {"youtube", KIND_SOCIAL, 1},
};

/* Some text that stands for a platform. */
typedef struct Entry
{
	const char *text;
	unsigned char len;
	unsigned char platform;
} Entry;

#define ENTRY(text, platform)	{text, sizeof(text) - 1, platform}

/* Other ways people write a platform in utm_source. */
static const Entry aliases[] = {
	ENTRY("bsky", BLUESKY),
	ENTRY("dc", DISCORD),
	ENTRY("ddg", DUCKDUCKGO),
	ENTRY("e-mail", EMAIL),
	ENTRY("mail", EMAIL),
	ENTRY("fb", FACEBOOK),
	ENTRY("fbads", FACEBOOK),
	ENTRY("fb_ads", FACEBOOK),
	ENTRY("fb-ads", FACEBOOK),
	ENTRY("facebookads", FACEBOOK),
	ENTRY("facebook_ads", FACEBOOK),
	ENTRY("facebook-ads", FACEBOOK),
	ENTRY("facebook ads", FACEBOOK),
	ENTRY("adwords", GOOGLE),
	ENTRY("gads", GOOGLE),
	ENTRY("googleads", GOOGLE),
	ENTRY("google_ads", GOOGLE),
	ENTRY("google-ads", GOOGLE),
	ENTRY("google ads", GOOGLE),
	ENTRY("google+", GOOGLE_PLUS),
	ENTRY("googleplus", GOOGLE_PLUS),
	ENTRY("hn", HACKERNEWS),
	ENTRY("hacker news", HACKERNEWS),
	ENTRY("ig", INSTAGRAM),
	ENTRY("insta", INSTAGRAM),
	ENTRY("igads", INSTAGRAM),
	ENTRY("instagramads", INSTAGRAM),
	ENTRY("instagram_ads", INSTAGRAM),
	ENTRY("instagram-ads", INSTAGRAM),
	ENTRY("kakao", KAKAOTALK),
	ENTRY("li", LINKEDIN),
	ENTRY("lnkd", LINKEDIN),
	ENTRY("linked-in", LINKEDIN),
	ENTRY("linked_in", LINKEDIN),
	ENTRY("linkedin_ads", LINKEDIN),
	ENTRY("fbmessenger", MESSENGER),
	ENTRY("facebook_messenger", MESSENGER),
	ENTRY("facebook-messenger", MESSENGER),
	ENTRY("msg", MESSENGER),
	ENTRY("pin", PINTEREST),
	ENTRY("pins", PINTEREST),
	ENTRY("sc", SNAPCHAT),
	ENTRY("snap", SNAPCHAT),
	ENTRY("tg", TELEGRAM),
	ENTRY("tt", TIKTOK),
	ENTRY("tik-tok", TIKTOK),
	ENTRY("tik_tok", TIKTOK),
	ENTRY("tik tok", TIKTOK),
	ENTRY("tiktokads", TIKTOK),
	ENTRY("tiktok_ads", TIKTOK),
	ENTRY("tiktok-ads", TIKTOK),
	ENTRY("tw", TWITTER),
	ENTRY("twtr", TWITTER),
	ENTRY("x", TWITTER),
	ENTRY("vkontakte", VK),
	ENTRY("wa", WHATSAPP),
	ENTRY("whats-app", WHATSAPP),
	ENTRY("whats_app", WHATSAPP),
	ENTRY("yt", YOUTUBE),
	ENTRY("you-tube", YOUTUBE),
	ENTRY("you_tube", YOUTUBE),
	ENTRY("youtu", YOUTUBE),
};

/*
 * Hosts of referrers.  An entry stands for the host and all below it; the
 * first that fits counts, so a host stands before the domain it is in.  Apps
 * on Android send their package's name as a host (android-app://...).
 */
static const Entry hosts[] = {
	/* social networks, messengers, communities, video */
	ENTRY("t.co", TWITTER),
	ENTRY("twitter.com", TWITTER),
	ENTRY("x.com", TWITTER),
	ENTRY("com.twitter.android", TWITTER),
	ENTRY("messenger.com", MESSENGER),
	ENTRY("m.me", MESSENGER),
	ENTRY("com.facebook.orca", MESSENGER),
	ENTRY("facebook.com", FACEBOOK),
	ENTRY("fb.com", FACEBOOK),
	ENTRY("fb.me", FACEBOOK),
	ENTRY("fb.watch", FACEBOOK),
	ENTRY("com.facebook.katana", FACEBOOK),
	ENTRY("com.facebook.lite", FACEBOOK),
	ENTRY("instagram.com", INSTAGRAM),
	ENTRY("instagr.am", INSTAGRAM),
	ENTRY("ig.me", INSTAGRAM),
	ENTRY("com.instagram.android", INSTAGRAM),
	ENTRY("threads.net", THREADS),
	ENTRY("threads.com", THREADS),
	ENTRY("com.instagram.barcelona", THREADS),
	ENTRY("tiktok.com", TIKTOK),
	ENTRY("tiktokv.com", TIKTOK),
	ENTRY("musical.ly", TIKTOK),
	ENTRY("douyin.com", TIKTOK),
	ENTRY("com.zhiliaoapp.musically", TIKTOK),
	ENTRY("com.ss.android.ugc.trill", TIKTOK),
	ENTRY("youtube.com", YOUTUBE),
	ENTRY("youtube-nocookie.com", YOUTUBE),
	ENTRY("youtu.be", YOUTUBE),
	ENTRY("com.google.android.youtube", YOUTUBE),
	ENTRY("linkedin.com", LINKEDIN),
	ENTRY("lnkd.in", LINKEDIN),
	ENTRY("com.linkedin.android", LINKEDIN),
	ENTRY("pin.it", PINTEREST),
	ENTRY("com.pinterest", PINTEREST),
	ENTRY("reddit.com", REDDIT),
	ENTRY("redd.it", REDDIT),
	ENTRY("redditmedia.com", REDDIT),
	ENTRY("com.reddit.frontpage", REDDIT),
	ENTRY("snapchat.com", SNAPCHAT),
	ENTRY("com.snapchat.android", SNAPCHAT),
	ENTRY("whatsapp.com", WHATSAPP),
	ENTRY("whatsapp.net", WHATSAPP),
	ENTRY("wa.me", WHATSAPP),
	ENTRY("com.whatsapp", WHATSAPP),
	ENTRY("telegram.org", TELEGRAM),
	ENTRY("telegram.me", TELEGRAM),
	ENTRY("t.me", TELEGRAM),
	ENTRY("org.telegram.messenger", TELEGRAM),
	ENTRY("discord.com", DISCORD),
	ENTRY("discord.gg", DISCORD),
	ENTRY("discordapp.com", DISCORD),
	ENTRY("com.discord", DISCORD),
	ENTRY("slack.com", SLACK),
	ENTRY("slack-redir.net", SLACK),
	ENTRY("com.slack", SLACK),
	ENTRY("teams.microsoft.com", TEAMS),
	ENTRY("teams.live.com", TEAMS),
	ENTRY("statics.teams.cdn.office.net", TEAMS),
	ENTRY("twitch.tv", TWITCH),
	ENTRY("tv.twitch.android.app", TWITCH),
	ENTRY("tumblr.com", TUMBLR),
	ENTRY("t.umblr.com", TUMBLR),
	ENTRY("quora.com", QUORA),
	ENTRY("medium.com", MEDIUM),
	ENTRY("substack.com", SUBSTACK),
	ENTRY("patreon.com", PATREON),
	ENTRY("bsky.app", BLUESKY),
	ENTRY("go.bsky.app", BLUESKY),
	ENTRY("mastodon.social", MASTODON),
	ENTRY("mastodon.online", MASTODON),
	ENTRY("mstdn.social", MASTODON),
	ENTRY("mstdn.jp", MASTODON),
	ENTRY("joinmastodon.org", MASTODON),
	ENTRY("org.joinmastodon.android", MASTODON),
	ENTRY("vk.com", VK),
	ENTRY("vk.ru", VK),
	ENTRY("vkontakte.ru", VK),
	ENTRY("weibo.com", WEIBO),
	ENTRY("weibo.cn", WEIBO),
	ENTRY("t.cn", WEIBO),
	ENTRY("weixin.qq.com", WECHAT),
	ENTRY("wechat.com", WECHAT),
	ENTRY("mail.qq.com", EMAIL),
	ENTRY("qq.com", QQ),
	ENTRY("line.me", LINE),
	ENTRY("jp.naver.line.android", LINE),
	ENTRY("kakao.com", KAKAOTALK),
	ENTRY("viber.com", VIBER),
	ENTRY("xing.com", XING),
	ENTRY("flipboard.com", FLIPBOARD),
	ENTRY("flip.it", FLIPBOARD),
	ENTRY("vimeo.com", VIMEO),
	ENTRY("soundcloud.com", SOUNDCLOUD),
	ENTRY("spotify.com", SPOTIFY),
	ENTRY("spotify.link", SPOTIFY),
	ENTRY("behance.net", BEHANCE),
	ENTRY("dribbble.com", DRIBBBLE),
	ENTRY("deviantart.com", DEVIANTART),
	ENTRY("joinclubhouse.com", CLUBHOUSE),
	ENTRY("clubhouse.com", CLUBHOUSE),
	ENTRY("github.com", GITHUB),
	ENTRY("news.ycombinator.com", HACKERNEWS),
	ENTRY("stackoverflow.com", STACKOVERFLOW),

	/* mail on the web */
	ENTRY("com.google.android.gm", EMAIL),
	ENTRY("mail.aol.com", EMAIL),
	ENTRY("mail.com", EMAIL),
	ENTRY("mail.live.com", EMAIL),
	ENTRY("outlook.live.com", EMAIL),
	ENTRY("outlook.com", EMAIL),
	ENTRY("outlook.office.com", EMAIL),
	ENTRY("outlook.office365.com", EMAIL),
	ENTRY("safelinks.protection.outlook.com", EMAIL),
	ENTRY("hotmail.com", EMAIL),
	ENTRY("mail.yahoo.com", EMAIL),
	ENTRY("mail.yahoo.co.jp", EMAIL),
	ENTRY("e.mail.ru", EMAIL),
	ENTRY("mail.163.com", EMAIL),
	ENTRY("mail.126.com", EMAIL),
	ENTRY("mail.proton.me", EMAIL),
	ENTRY("mail.protonmail.com", EMAIL),
	ENTRY("mail.zoho.com", EMAIL),
	ENTRY("mail.zoho.eu", EMAIL),
	ENTRY("app.fastmail.com", EMAIL),
	ENTRY("fastmail.com", EMAIL),
	ENTRY("app.hey.com", EMAIL),
	ENTRY("mail.google.com", EMAIL),
	ENTRY("inbox.google.com", EMAIL),
	ENTRY("www.icloud.com", EMAIL),
	ENTRY("webmail.att.net", EMAIL),
	ENTRY("mail.comcast.net", EMAIL),
	ENTRY("mail.gmx.net", EMAIL),
	ENTRY("mail.gmx.com", EMAIL),
	ENTRY("navigator.gmx.net", EMAIL),
	ENTRY("navigator.web.de", EMAIL),
	ENTRY("mail.naver.com", EMAIL),
	ENTRY("mail.daum.net", EMAIL),
	ENTRY("mail.yandex.ru", EMAIL),
	ENTRY("mail.yandex.com", EMAIL),
	ENTRY("deref-gmx.net", EMAIL),
	ENTRY("deref-gmx.com", EMAIL),
	ENTRY("deref-mail.com", EMAIL),
	ENTRY("deref-web.de", EMAIL),

	/* search engines whose name is not a family of domains (see host_family) */
	ENTRY("com.google.android.googlequicksearchbox", GOOGLE),
	ENTRY("bing.com", BING),
	ENTRY("duckduckgo.com", DUCKDUCKGO),
	ENTRY("search.brave.com", BRAVE),
	ENTRY("baidu.com", BAIDU),
	ENTRY("ya.ru", YANDEX),
	ENTRY("ecosia.org", ECOSIA),
	ENTRY("search.naver.com", NAVER),
	ENTRY("m.search.naver.com", NAVER),
	ENTRY("qwant.com", QWANT),
	ENTRY("search.seznam.cz", SEZNAM),
	ENTRY("startpage.com", STARTPAGE),
	ENTRY("kagi.com", KAGI),

	/* assistants */
	ENTRY("chatgpt.com", CHATGPT),
	ENTRY("chat.openai.com", CHATGPT),
	ENTRY("perplexity.ai", PERPLEXITY),
	ENTRY("gemini.google.com", GEMINI),
	ENTRY("claude.ai", CLAUDE),
	ENTRY("copilot.microsoft.com", COPILOT),
	ENTRY("copilot.com", COPILOT),
};

/* A click id. */
typedef struct ClickId
{
	const char *name;			/* lower case */
	unsigned char len;
	unsigned char platform;
	unsigned char paid;
} ClickId;

#define CLICK_ID(name, platform, paid)	{name, sizeof(name) - 1, platform, paid}

/*
 * Parameters by which a platform marks a click.  Ids of people rather than
 * clicks (mc_eid, _kx) are none of them.
 */
static const ClickId click_ids[] = {
	CLICK_ID("gclid", GOOGLE, 1),
	CLICK_ID("gbraid", GOOGLE, 1),
	CLICK_ID("wbraid", GOOGLE, 1),
	CLICK_ID("dclid", GOOGLE, 1),
	CLICK_ID("srsltid", GOOGLE, 0),		/* free listings */
	CLICK_ID("fbclid", FACEBOOK, 0),	/* every outgoing link */
	CLICK_ID("ttclid", TIKTOK, 1),
	CLICK_ID("twclid", TWITTER, 1),
	CLICK_ID("msclkid", BING, 1),
	CLICK_ID("li_fat_id", LINKEDIN, 1),
	CLICK_ID("igshid", INSTAGRAM, 0),	/* the share button */
	CLICK_ID("igsh", INSTAGRAM, 0),
	CLICK_ID("epik", PINTEREST, 0),		/* pins and ads alike */
	CLICK_ID("sccid", SNAPCHAT, 1),
	CLICK_ID("rdt_cid", REDDIT, 1),
	CLICK_ID("qclid", QUORA, 1),
	CLICK_ID("yclid", YANDEX, 1),
	CLICK_ID("ysclid", YANDEX, 0),		/* organic results */
	CLICK_ID("dicbo", OUTBRAIN, 1),
	CLICK_ID("tblci", TABOOLA, 1),
	CLICK_ID("cto_pld", CRITEO, 1),
	CLICK_ID("irclickid", IMPACT, 0),
	CLICK_ID("cjevent", CJ, 0),
	CLICK_ID("awc", AWIN, 0),
	CLICK_ID("sscid", SHAREASALE, 0),
	CLICK_ID("ransiteid", RAKUTEN, 0),
	CLICK_ID("tduid", TRADEDOUBLER, 0),
};

/*
 * Hosts a buyer comes back from after paying: payment pages, wallets, banks'
 * and card schemes' confirmation pages.  Shops that are places of their own
 * (gumroad.com, etsy.com) are referrers like others.
 */
static const Entry payment_hosts[] = {
	ENTRY("stripe.com", 0),
	ENTRY("stripe.network", 0),
	ENTRY("paypal.com", 0),
	ENTRY("paypalobjects.com", 0),
	ENTRY("venmo.com", 0),
	ENTRY("braintreegateway.com", 0),
	ENTRY("braintree-api.com", 0),
	ENTRY("checkout.shopify.com", 0),
	ENTRY("pay.shopify.com", 0),
	ENTRY("shop.app", 0),
	ENTRY("klarna.com", 0),
	ENTRY("klarnaservices.com", 0),
	ENTRY("klarnapayments.com", 0),
	ENTRY("sofort.com", 0),
	ENTRY("paddle.com", 0),
	ENTRY("paddle.net", 0),
	ENTRY("onfastspring.com", 0),
	ENTRY("adyen.com", 0),
	ENTRY("adyenpayments.com", 0),
	ENTRY("checkout.com", 0),
	ENTRY("mollie.com", 0),
	ENTRY("mollie.nl", 0),
	ENTRY("authorize.net", 0),
	ENTRY("2checkout.com", 0),
	ENTRY("avangate.com", 0),
	ENTRY("checkout.square.site", 0),
	ENTRY("checkout.squareup.com", 0),
	ENTRY("connect.squareup.com", 0),
	ENTRY("cash.app", 0),
	ENTRY("pay.google.com", 0),
	ENTRY("payments.google.com", 0),
	ENTRY("pay.amazon.com", 0),
	ENTRY("payments.amazon.com", 0),
	ENTRY("payments.amazon.co.uk", 0),
	ENTRY("payments.amazon.de", 0),
	ENTRY("applepay.cdn-apple.com", 0),
	ENTRY("afterpay.com", 0),
	ENTRY("clearpay.co.uk", 0),
	ENTRY("affirm.com", 0),
	ENTRY("sezzle.com", 0),
	ENTRY("zip.co", 0),
	ENTRY("worldpay.com", 0),
	ENTRY("cybersource.com", 0),
	ENTRY("sagepay.com", 0),
	ENTRY("opayo.co.uk", 0),
	ENTRY("gocardless.com", 0),
	ENTRY("razorpay.com", 0),
	ENTRY("ccavenue.com", 0),
	ENTRY("paytm.com", 0),
	ENTRY("payu.com", 0),
	ENTRY("payu.in", 0),
	ENTRY("secure.payu.com", 0),
	ENTRY("mercadopago.com", 0),
	ENTRY("mercadopago.com.br", 0),
	ENTRY("mercadopago.com.ar", 0),
	ENTRY("mercadopago.com.mx", 0),
	ENTRY("pagseguro.uol.com.br", 0),
	ENTRY("pay.hotmart.com", 0),
	ENTRY("ebanx.com", 0),
	ENTRY("alipay.com", 0),
	ENTRY("skrill.com", 0),
	ENTRY("neteller.com", 0),
	ENTRY("paysafecard.com", 0),
	ENTRY("przelewy24.pl", 0),
	ENTRY("ideal.nl", 0),
	ENTRY("giropay.de", 0),
	ENTRY("bancontact.com", 0),
	ENTRY("vipps.no", 0),
	ENTRY("swish.nu", 0),
	ENTRY("commerce.coinbase.com", 0),
	ENTRY("arcot.com", 0),
	ENTRY("cardinalcommerce.com", 0),
	ENTRY("3dsecure.io", 0),
	ENTRY("securesuite.co.uk", 0),
	ENTRY("wlp-acs.com", 0),
};

#define LENGTH(array)	(sizeof(array) / sizeof((array)[0]))

/* A host in lower case, without port or trailing dot. */
typedef struct Host
{
	char		text[256];
	size_t		len;
} Host;

/* Is this byte an ASCII blank or control character? */
static inline bool
is_blank(unsigned char c)
{
	return c <= ' ' || c == 0x7f;
}

/*
 * Copy text trimmed and in lower case into out (CHANNEL_MAX_BYTES + 1 bytes),
 * cut at a character's end; blanks and control characters inside become one
 * space, bytes that are no UTF-8 are left out.  Returns the length.
 */
static size_t
copy_normal(char *out, Slice text)
{
	size_t		len = 0;
	size_t		i = 0;

	while (i < text.len)
	{
		unsigned char c = (unsigned char) text.data[i];
		size_t		step = url_utf8_length(text.data + i, text.len - i);

		if (step == 0)
		{
			i++;
			continue;
		}
		if (len + step > CHANNEL_MAX_BYTES)
			break;
		if (is_blank(c))
		{
			if (len > 0 && out[len - 1] != ' ')
				out[len++] = ' ';
		}
		else if (step == 1)
			out[len++] = (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : (char) c;
		else
		{
			memcpy(out + len, text.data + i, step);
			len += step;
		}
		i += step;
	}
	if (len > 0 && out[len - 1] == ' ')
		len--;
	out[len] = '\0';
	return len;
}

/* Copy a constant into out. */
static void
copy_constant(char *out, const char *text)
{
	strncpy(out, text, CHANNEL_MAX_BYTES);
	out[CHANNEL_MAX_BYTES] = '\0';
}

/* Take a host as it stands in a URL or header; false where it is no usable one. */
static bool
host_take(Host *host, const char *text, size_t len)
{
	Slice		slice = {text, len};

	if (len == 0 || len >= sizeof(host->text))
		return false;
	host->len = url_host_normal(slice, host->text);
	return host->len > 0;
}

/* Is the host this domain, or one below it? */
static inline bool
host_is_under(const Host *host, const char *domain, size_t len)
{
	size_t		before;

	if (host->len < len)
		return false;
	before = host->len - len;
	/* most differ in the last letter but two or three: look before comparing all */
	if (host->text[before] != domain[0] ||
		memcmp(host->text + before, domain, len) != 0)
		return false;
	return before == 0 || host->text[before - 1] == '.';
}

/*
 * Is the rest of a host, after a name and a dot, a public suffix of the kind
 * that companies take their name under: one label, or co/com/... and a
 * country's?
 */
static bool
is_company_suffix(const char *text, size_t len)
{
	const char *dot = memchr(text, '.', len);
	size_t		first;

	if (len < 2)
		return false;
	if (dot == NULL)
		return len <= 4;
	first = (size_t) (dot - text);
	return (first == 2 || first == 3) && len == first + 3 &&
		dot[1] != '.' && dot[2] != '.' &&
		(memcmp(text, "co", 2) == 0 || memcmp(text, "ne", 2) == 0 ||
		 memcmp(text, "or", 2) == 0);
}

/*
 * Does the host consist of this name under some country's suffix?  Then
 * sub_len is the length of what stands before it (0 for nothing, the last dot
 * not counted).
 */
static bool
host_family(const Host *host, const char *name, size_t *sub_len)
{
	size_t		name_len = strlen(name);
	size_t		start = 0;

	for (;;)
	{
		size_t		after = start + name_len;
		const char *dot;

		if (after + 1 < host->len && host->text[after] == '.' &&
			memcmp(host->text + start, name, name_len) == 0 &&
			is_company_suffix(host->text + after + 1, host->len - after - 1))
		{
			*sub_len = start > 0 ? start - 1 : 0;
			return true;
		}
		dot = memchr(host->text + start, '.', host->len - start);
		if (dot == NULL)
			return false;
		start = (size_t) (dot - host->text) + 1;
	}
}

/* Is the host's part before the family's name one of these (joined by spaces)? */
static bool
sub_is_one_of(const Host *host, size_t sub_len, const char *list)
{
	while (*list != '\0')
	{
		const char *end = strchr(list, ' ');
		size_t		len = end ? (size_t) (end - list) : strlen(list);

		if (len == sub_len && memcmp(host->text, list, len) == 0)
			return true;
		list += len + (end ? 1 : 0);
	}
	return false;
}

/* The platform a referrer's host stands for, or NO_PLATFORM; paid where it is one of an ad server. */
static int
host_platform(const Host *host, bool *paid)
{
	size_t		sub;

	*paid = false;
	for (size_t i = 0; i < LENGTH(hosts); i++)
	{
		if (host_is_under(host, hosts[i].text, hosts[i].len))
			return hosts[i].platform;
	}

	if (host_family(host, "google", &sub))
	{
		if (sub == 0 ||
			sub_is_one_of(host, sub, "www m images encrypted search news maps shopping lens cse ipv4 ipv6"))
			return GOOGLE;
		if (sub_is_one_of(host, sub, "plus plus.url"))
			return GOOGLE_PLUS;
		if (sub_is_one_of(host, sub, "mail inbox"))
			return EMAIL;
		return NO_PLATFORM;		/* documents, calendars, sites ... : themselves */
	}
	if (host_is_under(host, "googleadservices.com", 20) ||
		host_is_under(host, "doubleclick.net", 15) ||
		host_is_under(host, "googlesyndication.com", 21))
	{
		*paid = true;
		return GOOGLE;
	}
	if (host_family(host, "yahoo", &sub))
	{
		if (sub >= 4 && memcmp(host->text + sub - 4, "mail", 4) == 0 &&
			(sub == 4 || host->text[sub - 5] == '.'))
			return EMAIL;
		if (sub >= 6 && memcmp(host->text + sub - 6, "search", 6) == 0 &&
			(sub == 6 || host->text[sub - 7] == '.'))
			return YAHOO;
		return sub == 0 || sub_is_one_of(host, sub, "www") ? YAHOO : NO_PLATFORM;
	}
	if (host_family(host, "yandex", &sub))
		return sub_is_one_of(host, sub, "mail") ? EMAIL : YANDEX;
	if (host_family(host, "pinterest", &sub))
		return PINTEREST;
	if (host_family(host, "amazon", &sub))
		return AMAZON;
	return NO_PLATFORM;
}

/* The platform of that name, or NO_PLATFORM. */
static int
platform_by_name(const char *name, size_t len)
{
	for (int i = 0; i < NUM_PLATFORMS; i++)
	{
		if (strncmp(platforms[i].name, name, len) == 0 && platforms[i].name[len] == '\0')
			return i;
	}
	return NO_PLATFORM;
}

/* The platform that a normalised utm_source or stated platform means, or NO_PLATFORM. */
static int
platform_by_source(const char *source, size_t len)
{
	int			platform = platform_by_name(source, len);

	if (platform != NO_PLATFORM)
		return platform;
	for (size_t i = 0; i < LENGTH(aliases); i++)
	{
		if (aliases[i].len == len && memcmp(aliases[i].text, source, len) == 0)
			return aliases[i].platform;
	}
	/* some write the host: facebook.com, l.instagram.com */
	if (memchr(source, '.', len) != NULL)
	{
		Host		host;
		bool		paid;

		if (host_take(&host, source, len))
			return host_platform(&host, &paid);
	}
	return NO_PLATFORM;
}

/*
 * Which channel, medium and platform; see the header.
 *
 * The channel comes from the strongest piece of evidence there is.  The
 * platform is that of the strongest piece that names a known one: a
 * newsletter opened in Instagram's browser is channel newsletter, platform
 * instagram.
 */
void
channel_resolve(const ChannelInput *input, ChannelResult *result)
{
	Host		host;
	char		stated[CHANNEL_MAX_BYTES + 1];
	size_t		source_len = copy_normal(result->channel, input->utm_source);
	size_t		stated_len = copy_normal(stated, input->platform);
	bool		has_host;
	bool		host_paid = false;
	int			from_source = NO_PLATFORM;
	int			from_stated = NO_PLATFORM;
	int			from_click_id = NO_PLATFORM;
	int			from_app = NO_PLATFORM;
	int			from_host = NO_PLATFORM;
	int			platform;		/* the one that the channel is, or NO_PLATFORM */

	has_host = host_take(&host, input->referrer_host.data, input->referrer_host.len) &&
		!channel_payment_host(host.text, host.len);

	if (source_len > 0)
		from_source = platform_by_source(result->channel, source_len);
	if (stated_len > 0)
		from_stated = platform_by_source(stated, stated_len);
	if (input->click_id_platform != NULL)
		from_click_id = platform_by_name(input->click_id_platform, strlen(input->click_id_platform));
	if (input->app != NULL)
		from_app = platform_by_name(input->app, strlen(input->app));
	if (has_host)
		from_host = host_platform(&host, &host_paid);

	/* the channel */
	if (source_len > 0)
	{
		result->evidence = "utm_source";
		platform = from_source;
		if (strcmp(result->channel, "(direct)") == 0)
			copy_constant(result->channel, "direct");
	}
	else if (stated_len > 0)
	{
		result->evidence = "platform";
		platform = from_stated;
		memcpy(result->channel, stated, stated_len + 1);
	}
	else if (input->click_id_platform != NULL)
	{
		result->evidence = "click_id";
		platform = from_click_id;
		copy_constant(result->channel, input->click_id_platform);
	}
	else if (input->app != NULL)
	{
		result->evidence = "app";
		platform = from_app;
		copy_constant(result->channel, input->app);
	}
	else if (has_host)
	{
		Slice		name = {host.text, host.len};

		result->evidence = "referrer";
		platform = from_host;
		if (name.len > 4 && memcmp(name.data, "www.", 4) == 0)
		{
			name.data += 4;
			name.len -= 4;
		}
		if (copy_normal(result->channel, name) == 0)
			copy_constant(result->channel, "unknown");
	}
	else
	{
		result->evidence = "direct";
		platform = NO_PLATFORM;
		copy_constant(result->channel, "direct");
	}
	if (platform != NO_PLATFORM)
		copy_constant(result->channel, platforms[platform].name);

	/* the medium */
	if (copy_normal(result->medium, input->utm_medium) == 0)
	{
		if ((input->click_id_platform != NULL && input->click_id_paid) ||
			(host_paid && strcmp(result->evidence, "referrer") == 0))
			copy_constant(result->medium, "cpc");
		else if (platform != NO_PLATFORM)
			copy_constant(result->medium, kind_media[platforms[platform].kind]);
		else if (strcmp(result->channel, "direct") == 0)
			copy_constant(result->medium, "none");
		else if (strcmp(result->evidence, "app") == 0 || strcmp(result->evidence, "platform") == 0)
			copy_constant(result->medium, "social");
		else if (strcmp(result->channel, "newsletter") == 0)
			copy_constant(result->medium, "email");
		else
			copy_constant(result->medium, "referral");
	}

	/* the platform */
	result->platform = NULL;
	{
		const int	candidates[] = {from_source, from_stated, from_click_id, from_app, from_host};

		for (size_t i = 0; i < LENGTH(candidates); i++)
		{
			if (candidates[i] != NO_PLATFORM && platforms[candidates[i]].is_platform)
			{
				result->platform = platforms[candidates[i]].name;
				break;
			}
		}
	}
}

/*
 * Is this parameter name a platform's click id; see the header.
 */
bool
channel_click_id(const char *name, size_t len,
				 const char **platform, bool *paid)
{
	for (size_t i = 0; i < LENGTH(click_ids); i++)
	{
		const ClickId *id = &click_ids[i];
		size_t		j;

		if (id->len != len)
			continue;
		for (j = 0; j < len; j++)
		{
			char		c = name[j];

			if (c >= 'A' && c <= 'Z')
				c |= 0x20;
			if (c != id->name[j])
				break;
		}
		if (j == len)
		{
			*platform = platforms[id->platform].name;
			*paid = id->paid != 0;
			return true;
		}
	}
	return false;
}

/*
 * Is this host one of a payment provider; see the header.
 */
bool
channel_payment_host(const char *host, size_t len)
{
	Host		normal;

	if (!host_take(&normal, host, len))
		return false;
	for (size_t i = 0; i < LENGTH(payment_hosts); i++)
	{
		if (host_is_under(&normal, payment_hosts[i].text, payment_hosts[i].len))
			return true;
	}
	return false;
}
