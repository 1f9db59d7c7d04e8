/*-------------------------------------------------------------------------
 *
 * agent_core.c
 *	  What a User-Agent header and its company say about a request.
 *
 * Owns the built-in knowledge of agents: a dictionary of words, a list of
 * word endings, and a few rules about how browsers introduce themselves.
 * Tables of the database (bot_pattern) override it, they do not replace it.
 *
 * Words, not substrings: a word is a run of letters, and an entry of the
 * dictionary matches from the start of a word and, if it ends in a letter, to
 * the end of one.  So "bot" is found in "Googlebot/2.1" (an ending), in
 * "mj12bot" and in "my-bot", but neither in "CUBOT" (an exception) nor in
 * "both", and "http" alone says nothing.
 *
 * Invariants:
 *	- one pass, time linear in the length, at most AGENT_MAX_BYTES are read;
 *	- no allocation, no locale, no static state; results are constants;
 *	- an agent of a phone's app is no bot for want of a browser's name, an
 *	  agent that is neither browser nor device is one (reason crawler).
 *
 *-------------------------------------------------------------------------
 */
#include "agent_core.h"

#include <string.h>

/* Longer agents are judged by their beginning. */
#define AGENT_MAX_BYTES		1024

/* Zero bytes after the folded agent, so that an entry may be compared without looking for the end. */
#define AGENT_PADDING		48

/* Operating systems; where several are named, the greatest counts. */
typedef enum Os
{
	OS_NONE,
	OS_LINUX,
	OS_BSD,
	OS_MACOS,
	OS_WINDOWS,
	OS_OTHER,
	OS_CHROMEOS,
	OS_ANDROID,
	OS_IOS,
	OS_TIZEN,
	OS_WEBOS,
	OS_ROKU,
	OS_PLAYSTATION,
	OS_NINTENDO,
	OS_HARMONYOS,
	OS_BLACKBERRY,
	OS_SYMBIAN,
	OS_KAIOS,
	OS_TVOS,
	OS_WATCHOS,
	OS_WINDOWS_PHONE
} Os;

static const char *const os_names[] = {
	"other", "linux", "bsd", "macos", "windows", "other", "chromeos",
	"android", "ios", "tizen", "webos", "roku", "playstation", "nintendo",
	"harmonyos", "blackberry", "symbian", "kaios", "tvos", "watchos",
	"windows_phone"
};

/* Devices named by a word of their own; the greatest counts. */
typedef enum Device
{
	DEVICE_NONE,
	DEVICE_MOBILE,				/* "Mobile": a phone, unless the rest says better */
	DEVICE_PHONE,
	DEVICE_TABLET,
	DEVICE_CONSOLE,
	DEVICE_WEARABLE,
	DEVICE_TV
} Device;

/* Browsers; the greatest counts, so those that also name Chrome or Safari come after these. */
typedef enum Browser
{
	BROWSER_NONE,
	BROWSER_WEBKIT,				/* an engine without a name: what the system has */
	BROWSER_SAFARI,
	BROWSER_CHROME,
	BROWSER_FIREFOX,
	BROWSER_IE,
	BROWSER_OTHER,
	BROWSER_BRAVE,
	BROWSER_DUCKDUCKGO,
	BROWSER_HUAWEI,
	BROWSER_MIUI,
	BROWSER_QQ,
	BROWSER_SAMSUNG,
	BROWSER_SILK,
	BROWSER_UC,
	BROWSER_VIVALDI,
	BROWSER_WHALE,
	BROWSER_YANDEX,
	BROWSER_EDGE,
	BROWSER_OPERA
} Browser;

static const char *const browser_names[] = {
	"other", "other", "safari", "chrome", "firefox", "ie", "other", "brave",
	"duckduckgo", "huawei", "miui", "qq", "samsung", "silk", "uc", "vivaldi",
	"whale", "yandex", "edge", "opera"
};

/* In-app browsers; the greatest counts. */
typedef enum App
{
	APP_NONE,
	APP_FACEBOOK,				/* least: Meta's other apps carry its marks too */
	APP_MESSENGER,
	APP_INSTAGRAM,
	APP_THREADS,
	APP_BAIDU,
	APP_BLUESKY,
	APP_DISCORD,
	APP_GOOGLE,
	APP_KAKAOTALK,
	APP_LINE,
	APP_LINKEDIN,
	APP_NAVER,
	APP_PINTEREST,
	APP_QQ,
	APP_REDDIT,
	APP_SLACK,
	APP_SNAPCHAT,
	APP_TELEGRAM,
	APP_TIKTOK,
	APP_TUMBLR,
	APP_TWITTER,
	APP_VIBER,
	APP_VK,
	APP_WECHAT,
	APP_WEIBO,
	APP_WHATSAPP,
	APP_YOUTUBE
} App;

static const char *const app_names[] = {
	NULL, "facebook", "messenger", "instagram", "threads", "baidu", "bluesky",
	"discord", "google", "kakaotalk", "line", "linkedin", "naver",
	"pinterest", "qq", "reddit", "slack", "snapchat", "telegram", "tiktok",
	"tumblr", "twitter", "viber", "vk", "wechat", "weibo", "whatsapp",
	"youtube"
};

/* Why an agent is a bot; the greatest counts, being the most exact. */
typedef enum Bot
{
	BOT_NONE,
	BOT_CRAWLER,
	BOT_LIBRARY,
	BOT_HEADLESS,
	BOT_MONITOR,
	BOT_PREVIEW
} Bot;

static const char *const bot_names[] = {
	NULL, "crawler", "library", "headless", "monitor", "preview"
};

/* How an entry matches, and what else it says. */
#define AT_START	0x01		/* only at the start of the agent */
#define PREFIX		0x02		/* the word may go on */
#define HARMLESS	0x04		/* no bot, whatever the word ends in */
#define MOZILLA		0x08		/* how browsers begin */
#define ENGINE		0x10		/* a browser's engine */
#define APP_STACK	0x20		/* what phone apps fetch through: says nothing alone */
#define WEAK		0x40		/* bot unless it is the web view of an app on a phone */
#define COMPATIBLE	0x100		/* "compatible": said of MSIE once, of bots now */
#define ON_ANDROID	0x80		/* the device is one only where Android has been named before */

typedef struct Word
{
	const char *text;			/* lower case; starts with a letter */
	unsigned short flags;
	unsigned char len;
	unsigned char os;
	unsigned char device;
	unsigned char browser;
	unsigned char app;
	unsigned char bot;
} Word;

#define WORD(string, ...) {.text = string, .len = sizeof(string) - 1, __VA_ARGS__}
#define CRAWLER(text)	WORD(text, .bot = BOT_CRAWLER)
#define LIBRARY(text)	WORD(text, .bot = BOT_LIBRARY)
#define HEADLESS(text)	WORD(text, .bot = BOT_HEADLESS)
#define MONITOR(text)	WORD(text, .bot = BOT_MONITOR)
#define PREVIEW(text)	WORD(text, .bot = BOT_PREVIEW)
#define WEAK_BOT(text)	WORD(text, .flags = WEAK, .bot = BOT_CRAWLER)

/*
 * The dictionary, by first letter.  The first entry that matches at a word
 * counts, so a longer entry stands before one that it begins with.
 */
static const Word words_a[] = {
	WORD("applewebkit", .flags = ENGINE, .browser = BROWSER_WEBKIT),
	WORD("android tv", .os = OS_ANDROID, .device = DEVICE_TV),
	WORD("android", .os = OS_ANDROID),
	CRAWLER("acunetix"),
	CRAWLER("adbeat"),
	LIBRARY("aiohttp"),
	WORD("aix", .os = OS_OTHER),
	WORD("alcatel", .flags = PREFIX, .device = DEVICE_PHONE),
	WORD("amiga", .flags = PREFIX, .os = OS_OTHER, .browser = BROWSER_OTHER),
	CRAWLER("amazon-quick"),
	CRAWLER("anthropic-ai"),
	LIBRARY("apache-httpclient"),
	LIBRARY("apache-httpasyncclient"),
	WORD("appletv", .os = OS_TVOS, .device = DEVICE_TV),
	WORD("apple tv", .os = OS_TVOS, .device = DEVICE_TV),
	WORD("apple watch", .os = OS_WATCHOS, .device = DEVICE_WEARABLE),
	MONITOR("appinsights"),
	LIBRARY("appengine-google"),
	CRAWLER("archive-it"),
	CRAWLER("archive.org"),
	CRAWLER("archivebox"),
	LIBRARY("aria2"),
	CRAWLER("ask jeeves"),
	LIBRARY("asynchttpclient"),
	LIBRARY("axios"),
	LIBRARY("axel/"),
	WORD("aweme", .app = APP_TIKTOK),
	WORD("aft", .flags = PREFIX | ON_ANDROID, .device = DEVICE_TV),
};

static const Word words_b[] = {
	WORD("bb10", .os = OS_BLACKBERRY),
	WORD("blackberry", .flags = PREFIX, .os = OS_BLACKBERRY),
	WORD("beos", .os = OS_OTHER),
	WORD("barcelona ", .app = APP_THREADS),
	WORD("baiduboxapp", .app = APP_BAIDU),
	WORD("bidubrowser", .browser = BROWSER_OTHER),
	WORD("bluesky", .app = APP_BLUESKY),
	WORD("bravia", .device = DEVICE_TV),
	WORD("brave/", .browser = BROWSER_BRAVE),
	WORD("browser", .browser = BROWSER_OTHER),
	WORD("bytedancewebview", .app = APP_TIKTOK),
	WORD("bytelocale", .app = APP_TIKTOK),
	WORD("bytefulllocale", .app = APP_TIKTOK),
	CRAWLER("backlink"),
	MONITOR("better uptime"),
	MONITOR("betterstack"),
	PREVIEW("bingpreview"),
	PREVIEW("bitlybot"),
	MONITOR("blackbox exporter"),
	CRAWLER("brokenlinkcheck"),
};

static const Word words_c[] = {
	WORD("chromecast", .device = DEVICE_TV),
	CRAWLER("chrome privacy preserving prefetch proxy"),
	MONITOR("chrome-lighthouse"),
	HEADLESS("chromeheadless"),
	WORD("chrome", .browser = BROWSER_CHROME),
	WORD("chromium", .browser = BROWSER_CHROME),
	WORD("crios", .browser = BROWSER_CHROME),
	WORD("cros", .os = OS_CHROMEOS),
	WORD("crkey", .device = DEVICE_TV),
	WORD("cubot", .flags = HARMLESS),
	WORD("cfnetwork", .flags = APP_STACK),
	WORD("coc_coc_browser", .browser = BROWSER_OTHER),
	WORD("camscanner", .flags = HARMLESS),
	WORD("compatible", .flags = COMPATIBLE),
	WORD("cldc", .device = DEVICE_PHONE),
	WORD("ctv", .device = DEVICE_TV),
	HEADLESS("casperjs"),
	MONITOR("catchpoint"),
	CRAWLER("ccbot"),
	CRAWLER("chatgpt-user"),
	MONITOR("check_http"),
	MONITOR("checkly"),
	CRAWLER("claude-user"),
	CRAWLER("claude-web"),
	MONITOR("cloudflare-healthchecks"),
	WORD("cygwin_nt", .os = OS_WINDOWS),
	MONITOR("cloudflareobservatory"),
	CRAWLER("cloudflare"),
	CRAWLER("cohere-ai"),
	LIBRARY("colly"),
	LIBRARY("commons-httpclient"),
	LIBRARY("cpp-httplib"),
	LIBRARY("curl"),
	HEADLESS("cypress"),
};

static const Word words_d[] = {
	WORD("dalvik", .flags = APP_STACK, .os = OS_ANDROID),
	WORD("darwin", .flags = APP_STACK),
	WORD("dillo", .browser = BROWSER_OTHER),
	WORD("discord", .app = APP_DISCORD),
	WORD("docomo", .device = DEVICE_PHONE),
	WORD("dtv", .device = DEVICE_TV),
	PREVIEW("duckduckgo-favicons"),
	WORD("duckduckgo", .browser = BROWSER_DUCKDUCKGO),
	WORD("ddg/", .browser = BROWSER_DUCKDUCKGO),
	LIBRARY("dart/"),
	MONITOR("dareboost"),
	CRAWLER("datanyze"),
	MONITOR("datadog"),
	MONITOR("datadogsynthetics"),
	CRAWLER("dataprovider"),
	CRAWLER("devin/"),
	PREVIEW("discordbot"),
	WEAK_BOT("disqus"),
	MONITOR("dotcom-monitor"),
};

static const Word words_e[] = {
	WORD("edg/", .browser = BROWSER_EDGE),
	WORD("edge/", .browser = BROWSER_EDGE),
	WORD("edga/", .browser = BROWSER_EDGE),
	WORD("edgios/", .browser = BROWSER_EDGE),
	WORD("edgw/", .browser = BROWSER_EDGE),
	WORD("elinks", .browser = BROWSER_OTHER),
	WORD("epiphany", .browser = BROWSER_OTHER),
	PREVIEW("embedly"),
	LIBRARY("electron-fetch"),
	CRAWLER("evc-batch"),
};

static const Word words_f[] = {
	WORD("firefox", .browser = BROWSER_FIREFOX),
	WORD("fxios", .browser = BROWSER_FIREFOX),
	WORD("focus/", .browser = BROWSER_FIREFOX),
	WORD("fennec", .browser = BROWSER_FIREFOX),
	WORD("fban", .app = APP_FACEBOOK),
	WORD("fbav", .app = APP_FACEBOOK),
	WORD("fbios", .app = APP_FACEBOOK),
	WORD("fb_iab/messenger", .app = APP_MESSENGER),
	WORD("fb_iab/orca", .app = APP_MESSENGER),
	WORD("fb_iab", .app = APP_FACEBOOK),
	WORD("fb4a", .app = APP_FACEBOOK),
	WORD("freebsd", .os = OS_BSD),
	WORD("fuchsia", .os = OS_OTHER),
	PREVIEW("facebookexternalhit"),
	PREVIEW("facebookexternalua"),
	PREVIEW("facebookplatform"),
	PREVIEW("facebot"),
	CRAWLER("facebookcatalog"),
	LIBRARY("faraday"),
	LIBRARY("fasthttp"),
	LIBRARY("fetch/"),
	WORD("feed", .flags = PREFIX | WEAK, .bot = BOT_CRAWLER),
	PREVIEW("flipboardproxy"),
	MONITOR("freshping"),
};

static const Word words_g[] = {
	WORD("gecko", .flags = ENGINE),
	WORD("goanna", .flags = ENGINE, .browser = BROWSER_FIREFOX),
	WORD("gsa/", .app = APP_GOOGLE),
	WORD("googleapp", .app = APP_GOOGLE, .device = DEVICE_MOBILE),
	WORD("googletv", .device = DEVICE_TV),
	WORD("google tv", .device = DEVICE_TV),
	PREVIEW("google web preview"),
	PREVIEW("google favicon"),
	PREVIEW("google-pagerenderer"),
	MONITOR("google page speed"),
	MONITOR("google-uptimechecks"),
	CRAWLER("google-inspectiontool"),
	CRAWLER("google-site-verification"),
	CRAWLER("google-read-aloud"),
	CRAWLER("google-"),
	CRAWLER("googleother"),
	CRAWLER("googleproducer"),
	CRAWLER("googleagent"),
	CRAWLER("googleimageproxy"),
	CRAWLER("googleassociationservice"),
	CRAWLER("geedo"),
	CRAWLER("google search console"),
	PREVIEW("googlemessages"),
	MONITOR("gomezagent"),
	MONITOR("ghost inspector"),
	PREVIEW("github-camo"),
	LIBRARY("go-http-client"),
	LIBRARY("go-resty"),
	LIBRARY("gohttp"),
	WORD("go ", .flags = AT_START, .bot = BOT_LIBRARY),
	WORD("got", .flags = AT_START, .bot = BOT_LIBRARY),
	LIBRARY("grequests"),
	MONITOR("gtmetrix"),
	LIBRARY("guzzlehttp"),
	LIBRARY("guzzle"),
};

static const Word words_h[] = {
	WORD("harmonyos", .os = OS_HARMONYOS),
	WORD("haiku", .os = OS_OTHER),
	WORD("hbbtv", .device = DEVICE_TV),
	WORD("huaweibrowser", .browser = BROWSER_HUAWEI),
	WORD("heytapbrowser", .browser = BROWSER_OTHER),
	WORD("hp-ux", .os = OS_OTHER),
	WORD("hpwos", .os = OS_WEBOS, .device = DEVICE_TABLET),
	WORD("http://bsalsa.com", .flags = HARMLESS),
	WORD("http://www.bsalsa.com", .flags = HARMLESS),
	CRAWLER("http://"),
	CRAWLER("https://"),
	LIBRARY("http_request"),
	LIBRARY("http.rb"),
	LIBRARY("http-client"),
	LIBRARY("http-kit"),
	LIBRARY("httpclient"),
	LIBRARY("httpie"),
	LIBRARY("httpunit"),
	LIBRARY("httpx"),
	CRAWLER("httrack"),
	LIBRARY("hackney"),
	CRAWLER("hatena"),
	HEADLESS("headless"),
	WORD("headlesschrome", .browser = BROWSER_CHROME, .bot = BOT_HEADLESS),
	HEADLESS("headlessshell"),
	CRAWLER("heritrix"),
	MONITOR("hetrixtools"),
	HEADLESS("htmlunit"),
	MONITOR("hotjar"),
};

static const Word words_i[] = {
	WORD("iphone", .os = OS_IOS, .device = DEVICE_MOBILE),
	WORD("ipad", .os = OS_IOS, .device = DEVICE_TABLET),
	WORD("ipod", .os = OS_IOS, .device = DEVICE_MOBILE),
	WORD("ios", .os = OS_IOS),
	WORD("instagram", .app = APP_INSTAGRAM),
	WORD("iemobile", .os = OS_WINDOWS_PHONE, .browser = BROWSER_IE),
	WORD("ibrowse", .browser = BROWSER_OTHER),
	WORD("icab", .browser = BROWSER_OTHER),
	WORD("iceweasel", .browser = BROWSER_FIREFOX),
	WORD("irix", .os = OS_OTHER),
	WORD("inettvbrowser", .device = DEVICE_TV, .browser = BROWSER_OTHER),
	CRAWLER("ia_archiver"),
	PREVIEW("iframely"),
	LIBRARY("indy library"),
	LIBRARY("insomnia/"),
	CRAWLER("ips-agent"),
	CRAWLER("ichiro"),
	CRAWLER("inoreader"),
};

static const Word words_j[] = {
	WORD("j2me", .device = DEVICE_PHONE),
	WORD("java", .flags = AT_START, .bot = BOT_LIBRARY),
	LIBRARY("jakarta"),
	HEADLESS("jsdom"),
	LIBRARY("jersey"),
	LIBRARY("jsoup"),
};

static const Word words_k[] = {
	WORD("khtml", .flags = ENGINE),
	WORD("kaios", .os = OS_KAIOS),
	WORD("kakaotalk-scrap", .bot = BOT_PREVIEW),
	WORD("kakaotalk", .app = APP_KAKAOTALK),
	WORD("kddi", .device = DEVICE_PHONE),
	WORD("kindle", .device = DEVICE_TABLET),
	WORD("konqueror", .browser = BROWSER_OTHER),
	WORD("kf", .flags = PREFIX | ON_ANDROID, .device = DEVICE_TABLET),
	LIBRARY("ktor"),
};

static const Word words_l[] = {
	WORD("linux", .os = OS_LINUX),
	WORD("line/", .app = APP_LINE),
	WORD("linkedinapp", .app = APP_LINKEDIN),
	WORD("links", .flags = AT_START, .browser = BROWSER_OTHER),
	WORD("lynx", .browser = BROWSER_OTHER),
	WORD("lg-", .device = DEVICE_PHONE),
	PREVIEW("line-poker"),
	PREVIEW("linkedinbot"),
	CRAWLER("larbin"),
	CRAWLER("like gecko; compatible"),
	LIBRARY("libcurl"),
	LIBRARY("libwww-perl"),
	LIBRARY("lwp-"),
	LIBRARY("lwp::"),
	LIBRARY("lua-resty"),
	MONITOR("lighthouse"),
	CRAWLER("linkdex"),
	CRAWLER("linktiger"),
};

static const Word words_m[] = {
	WORD("mozilla", .flags = MOZILLA),
	WORD("mobile", .device = DEVICE_MOBILE),
	WORD("macintosh", .os = OS_MACOS),
	WORD("mac os x", .os = OS_MACOS),
	WORD("macos", .os = OS_MACOS),
	WORD("mac_powerpc", .os = OS_MACOS),
	WORD("msie", .flags = ENGINE, .browser = BROWSER_IE),
	WORD("maemo", .os = OS_LINUX, .device = DEVICE_MOBILE),
	WORD("maxthon", .browser = BROWSER_OTHER),
	WORD("messengerforios", .app = APP_MESSENGER),
	WORD("messengerlite", .app = APP_MESSENGER),
	WORD("metaiab facebook", .app = APP_FACEBOOK),
	WORD("metaiab instagram", .app = APP_INSTAGRAM),
	WORD("micromessenger", .app = APP_WECHAT),
	WORD("midori", .browser = BROWSER_OTHER),
	WORD("midp", .device = DEVICE_PHONE),
	WORD("miuibrowser", .browser = BROWSER_MIUI),
	WORD("mmp", .device = DEVICE_PHONE),
	WORD("morphos", .os = OS_OTHER),
	WORD("mosaic", .browser = BROWSER_OTHER),
	WORD("mot-", .device = DEVICE_PHONE),
	WORD("mqqbrowser", .browser = BROWSER_QQ),
	WORD("musical_ly", .app = APP_TIKTOK),
	WORD("mastodon", .flags = WEAK, .bot = BOT_PREVIEW),
	PREVIEW("mattermost"),
	CRAWLER("manus-user"),
	LIBRARY("mechanize"),
	CRAWLER("mediapartners-google"),
	CRAWLER("meta-externalads"),
	CRAWLER("meta-externalagent"),
	PREVIEW("meta-externalfetcher"),
	CRAWLER("meta-webindexer"),
	PREVIEW("metainspector"),
	PREVIEW("metauri"),
	PREVIEW("microsoft office"),
	PREVIEW("microsoftpreview"),
	PREVIEW("ms-office"),
	LIBRARY("microsoft url control"),
};

static const Word words_n[] = {
	WORD("naver", .app = APP_NAVER),
	WORD("netbsd", .os = OS_BSD),
	WORD("netcast", .os = OS_WEBOS, .device = DEVICE_TV),
	WORD("netfront", .flags = ENGINE, .browser = BROWSER_OTHER),
	WORD("netsurf", .browser = BROWSER_OTHER),
	WORD("netscape", .browser = BROWSER_OTHER),
	WORD("nexus player", .device = DEVICE_TV),
	WORD("nintendo", .os = OS_NINTENDO, .device = DEVICE_CONSOLE),
	WORD("nokia", .flags = PREFIX, .device = DEVICE_PHONE),
	WORD("nokiabrowser", .device = DEVICE_PHONE),
	MONITOR("nagios"),
	CRAWLER("netcraft"),
	CRAWLER("netestate"),
	WORD("newrelic", .flags = PREFIX, .bot = BOT_MONITOR),
	HEADLESS("nightmare"),
	CRAWLER("nikto"),
	CRAWLER("nmap"),
	WORD("node", .flags = AT_START, .bot = BOT_LIBRARY),
	LIBRARY("node-fetch"),
	LIBRARY("node.js"),
	LIBRARY("node-superagent"),
	MONITOR("nodeping"),
	CRAWLER("nutch"),
	CRAWLER("newspaper"),
};

static const Word words_o[] = {
	WORD("opr/", .browser = BROWSER_OPERA),
	WORD("opera mini", .flags = ENGINE, .device = DEVICE_MOBILE, .browser = BROWSER_OPERA),
	WORD("opera mobi", .flags = ENGINE, .device = DEVICE_MOBILE, .browser = BROWSER_OPERA),
	WORD("opera tablet", .flags = ENGINE, .device = DEVICE_TABLET, .browser = BROWSER_OPERA),
	WORD("opera", .flags = ENGINE, .browser = BROWSER_OPERA),
	WORD("opios/", .browser = BROWSER_OPERA),
	WORD("opt/", .browser = BROWSER_OPERA),
	WORD("opx/", .browser = BROWSER_OPERA),
	WORD("obigo", .device = DEVICE_PHONE, .browser = BROWSER_OTHER),
	WORD("oculusbrowser", .device = DEVICE_WEARABLE, .browser = BROWSER_OTHER),
	WORD("omniweb", .browser = BROWSER_OTHER),
	WORD("openbsd", .os = OS_BSD),
	WORD("openharmony", .os = OS_HARMONYOS),
	WORD("orca-android", .app = APP_MESSENGER),
	WORD("os/2", .os = OS_OTHER),
	WORD("okhttp", .flags = APP_STACK),
	CRAWLER("openvas"),
	LIBRARY("offline explorer"),
	CRAWLER("outbrain"),
};

static const Word words_p[] = {
	WORD("presto", .flags = ENGINE),
	WORD("pinterest/0.", .bot = BOT_PREVIEW),
	WORD("pinterest", .app = APP_PINTEREST),
	WORD("playbook", .os = OS_BLACKBERRY, .device = DEVICE_TABLET),
	WORD("playstation", .os = OS_PLAYSTATION, .device = DEVICE_CONSOLE),
	WORD("palemoon", .browser = BROWSER_FIREFOX),
	WORD("palmos", .os = OS_OTHER, .device = DEVICE_PHONE),
	WORD("palmsource", .os = OS_OTHER, .device = DEVICE_PHONE),
	WORD("philipstv", .device = DEVICE_TV),
	WORD("puffin/", .browser = BROWSER_OTHER),
	MONITOR("pagespeed"),
	PREVIEW("page-preview"),
	LIBRARY("perl/"),
	WORD("perl", .flags = AT_START, .bot = BOT_LIBRARY),
	CRAWLER("perplexity-user"),
	HEADLESS("phantomjs"),
	WORD("php", .flags = AT_START, .bot = BOT_LIBRARY),
	LIBRARY("php-curl"),
	LIBRARY("phpcrawl"),
	WORD("pingdom", .flags = PREFIX, .bot = BOT_MONITOR),
	MONITOR("pingometer"),
	PREVIEW("pinterestbot"),
	HEADLESS("playwright"),
	LIBRARY("postman"),
	LIBRARY("postmanruntime"),
	LIBRARY("powershell"),
	HEADLESS("prerender"),
	MONITOR("prtg"),
	MONITOR("ptst"),
	HEADLESS("puppeteer"),
	LIBRARY("pycurl"),
	LIBRARY("python"),
};

static const Word words_q[] = {
	WORD("qqbrowser", .browser = BROWSER_QQ),
	WORD("qq/", .app = APP_QQ),
	WORD("quest", .device = DEVICE_WEARABLE),
	WORD("qtcarbrowser", .os = OS_LINUX, .browser = BROWSER_OTHER),
};

static const Word words_r[] = {
	WORD("reddit/", .app = APP_REDDIT),
	WORD("roku", .flags = PREFIX, .os = OS_ROKU, .device = DEVICE_TV),
	WORD("risc os", .os = OS_OTHER),
	PREVIEW("redditbot"),
	LIBRARY("reqwest"),
	LIBRARY("rest-client"),
	LIBRARY("restsharp"),
	MONITOR("rigor"),
	MONITOR("ruxitsynthetic"),
	LIBRARY("ruby/"),
	WORD("ruby", .flags = AT_START, .bot = BOT_LIBRARY),
};

static const Word words_s[] = {
	WORD("safari", .browser = BROWSER_SAFARI),
	WORD("samsungbrowser", .browser = BROWSER_SAMSUNG),
	WORD("samsung-", .device = DEVICE_PHONE),
	WORD("seamonkey", .browser = BROWSER_FIREFOX),
	WORD("series60", .os = OS_SYMBIAN),
	WORD("series 60", .os = OS_SYMBIAN),
	WORD("silk/", .browser = BROWSER_SILK, .device = DEVICE_TABLET),
	WORD("slack_ssb", .app = APP_SLACK),
	WORD("sm-r", .device = DEVICE_WEARABLE),
	WORD("sm-p", .device = DEVICE_TABLET),
	WORD("sm-t", .device = DEVICE_TABLET),
	WORD("sm-x", .device = DEVICE_TABLET),
	WORD("smart-tv", .device = DEVICE_TV),
	WORD("smarttv", .device = DEVICE_TV),
	WORD("smarthub", .device = DEVICE_TV),
	WORD("snapchat", .app = APP_SNAPCHAT),
	WORD("softbank", .device = DEVICE_PHONE),
	WORD("sonydtv", .device = DEVICE_TV),
	WORD("sonyericsson", .flags = PREFIX, .device = DEVICE_PHONE),
	WORD("sunos", .os = OS_OTHER),
	WORD("symbian", .flags = PREFIX, .os = OS_SYMBIAN),
	CRAWLER("scrapy"),
	CRAWLER("scope3"),
	HEADLESS("selenium"),
	CRAWLER("semrush"),
	CRAWLER("siteimprove"),
	MONITOR("silktide"),
	PREVIEW("skypeuripreview"),
	PREVIEW("slackbot"),
	PREVIEW("slack-imgproxy"),
	HEADLESS("slimerjs"),
	PREVIEW("snap url preview"),
	HEADLESS("splash version"),
	HEADLESS("splash/"),
	CRAWLER("statically"),
	MONITOR("statuscake"),
	MONITOR("sucuri"),
	LIBRARY("superagent"),
	LIBRARY("symfony"),
	PREVIEW("synapse/"),
	MONITOR("site24x7"),
	CRAWLER("slurp"),
};

static const Word words_t[] = {
	WORD("trident", .flags = ENGINE, .browser = BROWSER_IE),
	WORD("tablet pc", .flags = HARMLESS),
	WORD("tablet", .device = DEVICE_TABLET),
	WORD("telegram-android", .app = APP_TELEGRAM),
	WORD("telegram-ios", .app = APP_TELEGRAM),
	WORD("telegram", .app = APP_TELEGRAM),
	WORD("tiktok", .app = APP_TIKTOK),
	WORD("tizen", .os = OS_TIZEN),
	WORD("touchpad", .device = DEVICE_TABLET),
	WORD("trill", .app = APP_TIKTOK),
	WORD("tumblr", .app = APP_TUMBLR),
	WORD("tv", .device = DEVICE_TV),
	WORD("tvos", .os = OS_TVOS, .device = DEVICE_TV),
	WORD("twitter for", .app = APP_TWITTER),
	WORD("twitterandroid", .app = APP_TWITTER),
	PREVIEW("telegrambot"),
	PREVIEW("twitterbot"),
	CRAWLER("teoma"),
	CRAWLER("theoldreader"),
	MONITOR("thousandeyes"),
	CRAWLER("twingly"),
	LIBRARY("thumbor"),
	LIBRARY("typhoeus"),
};

static const Word words_u[] = {
	WORD("ubuntu", .os = OS_LINUX),
	WORD("ucbrowser", .flags = PREFIX, .browser = BROWSER_UC),
	WORD("ucweb", .flags = PREFIX, .browser = BROWSER_UC, .device = DEVICE_MOBILE),
	WORD("ucpro", .browser = BROWSER_UC, .device = DEVICE_MOBILE),
	WORD("up.browser", .device = DEVICE_PHONE, .browser = BROWSER_OTHER),
	LIBRARY("undici"),
	LIBRARY("unirest"),
	CRAWLER("unwindfetchor"),
	MONITOR("updown.io"),
	WORD("uptime", .flags = PREFIX, .bot = BOT_MONITOR),
	MONITOR("uptimia"),
	MONITOR("uptrends"),
	LIBRARY("urlgrabber"),
	LIBRARY("urllib"),
	LIBRARY("ureq"),
};

static const Word words_v[] = {
	WORD("viber", .app = APP_VIBER),
	WORD("viera", .device = DEVICE_TV),
	WORD("vivaldi", .browser = BROWSER_VIVALDI),
	WORD("vivobrowser", .browser = BROWSER_OTHER),
	WORD("vizio", .device = DEVICE_TV),
	WORD("vkandroidapp", .app = APP_VK),
	WORD("vk_ios", .app = APP_VK),
	WORD("vodafone", .device = DEVICE_PHONE),
	LIBRARY("vert.x"),
	PREVIEW("vkshare"),
};

static const Word words_w[] = {
	WORD("windows phone", .os = OS_WINDOWS_PHONE),
	WORD("windows ce", .os = OS_WINDOWS_PHONE),
	WORD("windows mobile", .os = OS_WINDOWS_PHONE),
	WORD("windows", .os = OS_WINDOWS),
	WORD("win32", .os = OS_WINDOWS),
	WORD("win64", .os = OS_WINDOWS),
	WORD("win95", .os = OS_WINDOWS),
	WORD("win98", .os = OS_WINDOWS),
	WORD("win16", .os = OS_WINDOWS),
	WORD("winnt", .os = OS_WINDOWS),
	WORD("wow64", .os = OS_WINDOWS),
	WORD("watchos", .os = OS_WATCHOS, .device = DEVICE_WEARABLE),
	WORD("wear os", .device = DEVICE_WEARABLE),
	WORD("web0s", .os = OS_WEBOS, .device = DEVICE_TV),
	WORD("webos.tv", .os = OS_WEBOS, .device = DEVICE_TV),
	WORD("webos", .os = OS_WEBOS),
	WORD("webkit", .flags = ENGINE),
	WORD("weibo", .app = APP_WEIBO),
	WORD("whale/", .browser = BROWSER_WHALE),
	WORD("wii", .os = OS_NINTENDO, .device = DEVICE_CONSOLE),
	WORD("w3m", .browser = BROWSER_OTHER),
	WORD("waterfox", .browser = BROWSER_FIREFOX),
	PREVIEW("whatsapp"),
	CRAWLER("w3c-"),
	CRAWLER("w3c_"),
	LIBRARY("webcopier"),
	LIBRARY("webzip"),
	LIBRARY("wget"),
	LIBRARY("winhttp"),
	WEAK_BOT("wordpress"),
	CRAWLER("www.deadlinkchecker"),
};

static const Word words_x[] = {
	WORD("x11", .os = OS_LINUX),
	WORD("xbox", .os = OS_WINDOWS, .device = DEVICE_CONSOLE),
	CRAWLER("xenu"),
	PREVIEW("xing-contenttabreceiver"),
};

static const Word words_y[] = {
	WORD("yabrowser", .browser = BROWSER_YANDEX),
	WORD("yasearchbrowser", .browser = BROWSER_YANDEX),
	WORD("youtube", .app = APP_YOUTUBE),
	PREVIEW("yahoo link preview"),
	CRAWLER("yahoo! slurp"),
	CRAWLER("yahoo pipes"),
	WEAK_BOT("yeti"),
};

static const Word words_z[] = {
	MONITOR("zabbix"),
	CRAWLER("zgrab"),
	HEADLESS("zombie.js"),
	LIBRARY("zend_http_client"),
};

/* The words of one first letter. */
typedef struct WordList
{
	const Word *words;
	size_t		count;
} WordList;

#define LIST(words)	{words, sizeof(words) / sizeof(words[0])}

static const WordList word_lists[26] = {
	LIST(words_a), LIST(words_b), LIST(words_c), LIST(words_d), LIST(words_e),
	LIST(words_f), LIST(words_g), LIST(words_h), LIST(words_i), LIST(words_j),
	LIST(words_k), LIST(words_l), LIST(words_m), LIST(words_n), LIST(words_o),
	LIST(words_p), LIST(words_q), LIST(words_r), LIST(words_s), LIST(words_t),
	LIST(words_u), LIST(words_v), LIST(words_w), LIST(words_x), LIST(words_y),
	LIST(words_z)
};

/* A word's ending that the names of programs have. */
typedef struct Ending
{
	const char *text;
	unsigned char len;
	unsigned char bot;
	bool		weak;			/* names of apps have it too: see WEAK */
} Ending;

#define ENDING(text, bot, weak)	{text, sizeof(text) - 1, bot, weak}

static const Ending endings[] = {
	ENDING("bot", BOT_CRAWLER, false),
	ENDING("bots", BOT_CRAWLER, false),
	ENDING("crawl", BOT_CRAWLER, false),
	ENDING("crawler", BOT_CRAWLER, false),
	ENDING("crawlers", BOT_CRAWLER, false),
	ENDING("crawling", BOT_CRAWLER, false),
	ENDING("spider", BOT_CRAWLER, false),
	ENDING("spyder", BOT_CRAWLER, false),
	ENDING("scraper", BOT_CRAWLER, false),
	ENDING("scrapper", BOT_CRAWLER, false),
	ENDING("linkcheck", BOT_CRAWLER, false),
	ENDING("linkchecker", BOT_CRAWLER, false),
	ENDING("validator", BOT_CRAWLER, false),
	ENDING("httpclient", BOT_LIBRARY, false),
	ENDING("synthetics", BOT_MONITOR, false),
	ENDING("linkpreview", BOT_PREVIEW, false),
	ENDING("linkexpanding", BOT_PREVIEW, false),
	ENDING("archiver", BOT_CRAWLER, true),
	ENDING("auditor", BOT_CRAWLER, true),
	ENDING("checker", BOT_CRAWLER, true),
	ENDING("downloader", BOT_CRAWLER, true),
	ENDING("extractor", BOT_CRAWLER, true),
	ENDING("fetcher", BOT_CRAWLER, true),
	ENDING("finder", BOT_CRAWLER, true),
	ENDING("grabber", BOT_CRAWLER, true),
	ENDING("harvester", BOT_CRAWLER, true),
	ENDING("indexer", BOT_CRAWLER, true),
	ENDING("monitor", BOT_MONITOR, true),
	ENDING("monitoring", BOT_MONITOR, true),
	ENDING("parser", BOT_CRAWLER, true),
	ENDING("preview", BOT_PREVIEW, true),
	ENDING("resolver", BOT_CRAWLER, true),
	ENDING("scan", BOT_CRAWLER, true),
	ENDING("scanner", BOT_CRAWLER, true),
	ENDING("scanning", BOT_CRAWLER, true),
	ENDING("watcher", BOT_CRAWLER, true),
};

/* What has been found so far. */
typedef struct Findings
{
	int			os;
	int			device;
	int			browser;
	int			app;
	int			bot;
	int			weak_bot;		/* by words that apps use too */
	unsigned	flags;
} Findings;

/* The greater of two numbers. */
static inline int
greater(int a, int b)
{
	return a > b ? a : b;
}

/* Is this folded byte part of a word? */
static inline bool
is_word_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || c >= 0x80;
}

/* Look up the word at a position of the folded agent; NULL where the dictionary has none. */
static const Word *
word_at(const char *agent, size_t position)
{
	const char *text = agent + position;
	const WordList *list;

	if (text[0] < 'a' || text[0] > 'z')
		return NULL;
	list = &word_lists[text[0] - 'a'];
	for (size_t i = 0; i < list->count; i++)
	{
		const Word *word = &list->words[i];

		if (word->text[1] != text[1] || memcmp(text, word->text, word->len) != 0)
			continue;
		if (!(word->flags & PREFIX) &&
			is_word_byte((unsigned char) word->text[word->len - 1]) &&
			is_word_byte((unsigned char) text[word->len]))
			continue;
		if ((word->flags & AT_START) && position != 0)
			continue;
		return word;
	}
	return NULL;
}

/* Judge a word that the dictionary has not by its ending. */
static void
read_ending(const char *word, size_t len, Findings *found)
{
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
	{
		const Ending *ending = &endings[i];

		if (len >= ending->len && word[len - 1] == ending->text[ending->len - 1] &&
			memcmp(word + len - ending->len, ending->text, ending->len) == 0)
		{
			if (ending->weak)
				found->weak_bot = greater(found->weak_bot, ending->bot);
			else
				found->bot = greater(found->bot, ending->bot);
			return;
		}
	}
}

/*
 * Is this @ of the folded agent one of an email address?  Crawlers leave one;
 * browsers write name@version and locale@calendar=...
 */
static bool
is_email_at(const char *agent, size_t position)
{
	unsigned char before = position > 0 ? (unsigned char) agent[position - 1] : 0;
	size_t		i = position + 1;

	if (!is_word_byte(before) && !(before >= '0' && before <= '9'))
		return false;
	if (!is_word_byte((unsigned char) agent[i]))
		return false;
	while (is_word_byte((unsigned char) agent[i]) || agent[i] == '-' ||
		   (agent[i] >= '0' && agent[i] <= '9'))
		i++;
	return agent[i] == '.' && is_word_byte((unsigned char) agent[i + 1]);
}

/* Collect what the words of the folded agent say. */
static void
read_words(const char *agent, size_t len, Findings *found)
{
	size_t		i = 0;

	while (i < len)
	{
		const Word *word;
		size_t		end;

		if (!is_word_byte((unsigned char) agent[i]))
		{
			if (agent[i] == '@' && is_email_at(agent, i))
				found->bot = greater(found->bot, BOT_CRAWLER);
			i++;
			continue;
		}

		word = word_at(agent, i);
		for (end = i; is_word_byte((unsigned char) agent[end]); end++)
			;
		if (word != NULL)
		{
			if (!(word->flags & ON_ANDROID) || found->os == OS_ANDROID)
				found->device = greater(found->device, word->device);
			if (word->flags & WEAK)
				found->weak_bot = greater(found->weak_bot, word->bot);
			else
				found->bot = greater(found->bot, word->bot);
			found->os = greater(found->os, word->os);
			found->browser = greater(found->browser, word->browser);
			found->app = greater(found->app, word->app);
			found->flags |= word->flags;
			if (i + word->len > end)
				end = i + word->len;
		}
		else
			read_ending(agent + i, end - i, found);
		i = end;
	}
}

/* Is a device of this operating system used at a desk? */
static inline bool
os_is_desktop(int os)
{
	return os == OS_WINDOWS || os == OS_MACOS || os == OS_LINUX ||
		os == OS_BSD || os == OS_CHROMEOS || os == OS_OTHER;
}

/*
 * Judge an agent of which no word is a bot's by how it introduces itself.
 *
 * Browsers say Mozilla or Opera, name an operating system or device, and
 * (since Mozilla/5.0) an engine.  Apps on phones name a device, or their own
 * name beside the stack that they fetch through.
 */
static int
bot_by_form(const char *agent, const Findings *found)
{
	bool		mozilla = (found->flags & MOZILLA) || found->browser == BROWSER_OPERA;
	bool		named = found->os != OS_NONE || found->device != DEVICE_NONE;
	bool		has_browser = found->browser > BROWSER_WEBKIT;

	if (found->app != APP_NONE)
	{
		/* Meta's marks hold the device in fields of their own */
		if (named || mozilla || (found->flags & APP_STACK) || found->app <= APP_THREADS)
			return BOT_NONE;
		return BOT_PREVIEW;		/* just "Viber": its server */
	}
	if (!mozilla)
	{
		/* a stack without an app's name: see doc/channels.md */
		if (found->flags & APP_STACK)
			return strncmp(agent, "okhttp", 6) == 0 && !named ? BOT_LIBRARY : BOT_NONE;
		if (has_browser)
			return BOT_NONE;
		return !named || (found->device == DEVICE_NONE && os_is_desktop(found->os)) ?
			BOT_CRAWLER : BOT_NONE;
	}
	if (!named)
		return has_browser && (found->flags & ENGINE) && !(found->flags & COMPATIBLE) ?
			BOT_NONE : BOT_CRAWLER;
	if (strncmp(agent, "mozilla/5.0", 11) == 0 &&
		found->device == DEVICE_NONE && os_is_desktop(found->os) &&
		!has_browser && !(found->flags & ENGINE))
		return BOT_CRAWLER;
	return BOT_NONE;
}

/* Name the device. */
static const char *
device_name(const Findings *found)
{
	switch (found->device)
	{
		case DEVICE_TV:
			return "tv";
		case DEVICE_WEARABLE:
			return "wearable";
		case DEVICE_CONSOLE:
			return "console";
		default:
			break;
	}
	switch (found->os)
	{
		case OS_NONE:
		case OS_OTHER:
		case OS_TIZEN:
		case OS_WEBOS:
			if (found->device == DEVICE_TABLET)
				return "tablet";
			if (found->device != DEVICE_NONE)
				return "phone";
			return "other";
		case OS_WINDOWS:
		case OS_CHROMEOS:
			return "desktop";
		case OS_LINUX:
		case OS_BSD:
		case OS_MACOS:
			if (found->device == DEVICE_TABLET)
				return "tablet";
			return found->device != DEVICE_NONE ? "phone" : "desktop";
		case OS_ANDROID:
		case OS_HARMONYOS:
			if (found->device == DEVICE_TABLET)
				return "tablet";
			/* browsers on tablets leave "Mobile" out, apps do on phones too */
			if (found->device == DEVICE_NONE && (found->flags & MOZILLA) &&
				found->app == APP_NONE)
				return "tablet";
			return "phone";
		default:
			return found->device == DEVICE_TABLET ? "tablet" : "phone";
	}
}

/* Name the browser. */
static const char *
browser_name(const Findings *found)
{
	/* a web view names the engine; it is the system's own browser */
	if (found->browser == BROWSER_WEBKIT &&
		(found->os == OS_IOS || found->os == OS_MACOS))
		return "safari";
	/* Safari on Android and on Linux phones is what came before Chrome */
	if (found->browser == BROWSER_SAFARI || found->browser == BROWSER_WEBKIT)
	{
		if (found->os == OS_ANDROID)
			return "android";
		if (found->os == OS_BLACKBERRY)
			return "blackberry";
	}
	return browser_names[found->browser];
}

/* Is there nothing in the agent, or only a placeholder for nothing? */
static bool
is_empty_agent(const char *agent, size_t len)
{
	static const char *const nothing[] = {"-", "null", "(null)", "undefined", "none", "unknown"};
	size_t		start = 0;

	while (start < len && (unsigned char) agent[start] <= ' ')
		start++;
	while (len > start && (unsigned char) agent[len - 1] <= ' ')
		len--;
	if (start == len)
		return true;
	for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
	{
		if (strlen(nothing[i]) == len - start &&
			memcmp(agent + start, nothing[i], len - start) == 0)
			return true;
	}
	return false;
}

/*
 * Classify an agent; see the header.
 */
void
agent_classify(const char *user_agent, size_t len, AgentClass *result)
{
	char		agent[AGENT_MAX_BYTES + AGENT_PADDING];
	Findings	found = {0};

	if (len > AGENT_MAX_BYTES)
		len = AGENT_MAX_BYTES;
	for (size_t i = 0; i < len; i++)
	{
		char		c = user_agent[i];

		agent[i] = (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : c;
	}
	memset(agent + len, 0, AGENT_PADDING);

	result->device = "other";
	result->os = "other";
	result->browser = "other";
	result->app = NULL;
	result->is_bot = true;
	result->reason = "empty_agent";
	if (is_empty_agent(agent, len))
		return;

	read_words(agent, len, &found);

	/* an iPad that asks for desktop pages, in an app's web view */
	if (found.os == OS_MACOS && found.device == DEVICE_MOBILE)
	{
		found.os = OS_IOS;
		found.device = DEVICE_TABLET;
	}
	if (!((found.flags & ENGINE) && (found.os == OS_ANDROID || found.os == OS_IOS)))
		found.bot = greater(found.bot, found.weak_bot);
	if (found.bot == BOT_NONE)
		found.bot = bot_by_form(agent, &found);

	result->device = device_name(&found);
	result->os = os_names[found.os];
	result->browser = browser_name(&found);
	result->app = app_names[found.app];
	result->is_bot = found.bot != BOT_NONE;
	result->reason = bot_names[found.bot];
}

/* Is the text the given lower-case one, but for ASCII case? */
static bool
folded_equals(const char *text, size_t len, const char *other)
{
	if (strlen(other) != len)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c != other[i])
			return false;
	}
	return true;
}

/*
 * Does this request header say that nobody is looking (yet); see the header.
 *
 * Sec-Purpose is a list of tokens with parameters ("prefetch;prerender");
 * the older ones hold a single word.  The first token decides in all.
 */
bool
agent_header_is_prefetch(const char *name, size_t name_len,
						 const char *value, size_t value_len)
{
	size_t		start = 0;
	size_t		end;

	if (value_len == 0)
		return false;
	if (!folded_equals(name, name_len, "sec-purpose") &&
		!folded_equals(name, name_len, "purpose") &&
		!folded_equals(name, name_len, "x-purpose") &&
		!folded_equals(name, name_len, "x-moz"))
		return false;

	while (start < value_len && (value[start] == ' ' || value[start] == '\t'))
		start++;
	end = start;
	while (end < value_len && value[end] != ';' && value[end] != ',' &&
		   value[end] != ' ' && value[end] != '\t')
		end++;
	value += start;
	value_len = end - start;
	return folded_equals(value, value_len, "prefetch") ||
		folded_equals(value, value_len, "prerender") ||
		folded_equals(value, value_len, "preview");
}
