"""The catalogue of platforms: what each one shows, and where its numbers come from.

To add a platform, add one entry to the table of its group, with the page that states its size
and the year in which that page said so.
Prefer the platform's own page, and name a guide only where the platform publishes no size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

__all__ = [
    "GROUPS",
    "PLATFORMS",
    "RESPONSIVE",
    "Platform",
    "find",
    "in_group",
    "nearest",
]

GROUPS: tuple[str, ...] = ("social", "marketplace", "web")
"""The groups a platform may belong to."""

# Decimal, so that a file within a limit fits it however the platform counts a megabyte.
_KB = 1_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Platform:
    """One preset: what a platform shows, and where its numbers come from."""

    name: str
    """Kebab-case, such as "instagram-post"."""
    title: str
    """For people, such as "Instagram post (square)"."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fit: str
    """"cover", "contain" or "inside"."""
    format: str
    """"jpeg", "png", "webp" or "avif"."""
    groups: tuple[str, ...]
    """Some of GROUPS."""
    source: str
    """The page that states the size."""
    year: int
    """The latest year in which that page is known to have said so."""
    quality: int | None = None
    """Only where the platform asks for one."""
    max_bytes: int | None = None
    """The platform's upload limit for the file, where it states one."""
    enlarge: bool = True
    """Whether a smaller picture is enlarged to fill the box."""
    background: str = "ffffff"
    """What fills the rest of the box when the fit is "contain"."""
    gravity: str | None = None
    """Which part a crop keeps; None is the service's default for the fit."""
    note: str = ""
    """One sentence, where a number needs one."""


def _social(
    name: str,
    title: str,
    width: int,
    height: int,
    source: str,
    year: int,
    *,
    fit: str = "cover",
    format: str = "jpeg",
    groups: tuple[str, ...] = ("social",),
    max_bytes: int | None = None,
    note: str = "",
) -> Platform:
    """Return a preset of a social network: the picture covers the box."""
    return Platform(
        name=name,
        title=title,
        width=width,
        height=height,
        fit=fit,
        format=format,
        groups=groups,
        source=source,
        year=year,
        max_bytes=max_bytes,
        note=note,
    )


def _marketplace(
    name: str,
    title: str,
    width: int,
    height: int,
    source: str,
    year: int,
    *,
    quality: int | None = None,
    max_bytes: int | None = None,
    note: str = "",
) -> Platform:
    """Return a preset of a marketplace: the whole product, on white."""
    return Platform(
        name=name,
        title=title,
        width=width,
        height=height,
        fit="contain",
        format="jpeg",
        groups=("marketplace",),
        source=source,
        year=year,
        quality=quality,
        max_bytes=max_bytes,
        note=note,
    )


def _web(
    name: str,
    title: str,
    width: int,
    height: int,
    source: str,
    year: int,
    *,
    fit: str = "cover",
    format: str = "jpeg",
    enlarge: bool = True,
    note: str = "",
) -> Platform:
    """Return a preset of a web page."""
    return Platform(
        name=name,
        title=title,
        width=width,
        height=height,
        fit=fit,
        format=format,
        groups=("web",),
        source=source,
        year=year,
        enlarge=enlarge,
        note=note,
    )


# Pages that more than one preset stands on.
_INSTAGRAM = "https://help.instagram.com/1631821640426723"
_HOOTSUITE = "https://blog.hootsuite.com/social-media-image-sizes-guide/"
_SPROUT = "https://sproutsocial.com/insights/social-media-image-sizes-guide/"
_TACTIC = "https://tacticsocial.com/social-media-sizes"
_LINKEDIN_PAGES = "https://www.linkedin.com/help/linkedin/answer/a563309"
_YOUTUBE_THUMBNAILS = "https://support.google.com/youtube/answer/72431"
_WEB_ICONS = (
    "https://webspatial.dev/docs/development-guide/enabling-webspatial-in-web-projects/"
    "prerequisite-become-a-minimal-pwa/add-icon-files"
)
_RESOLUTIONS = "https://en.wikipedia.org/wiki/Display_resolution_standards"

# fmt: off
_SOCIAL: tuple[Platform, ...] = (
    # Instagram. The limit of 8 MB is the publishing API's.
    _social("instagram-post", "Instagram post (square)", 1080, 1080,
            _INSTAGRAM, 2026, max_bytes=8 * _MB,
            note="The profile grid shows the middle three quarters of the width."),
    _social("instagram-portrait", "Instagram post (portrait, 4:5)", 1080, 1350,
            _INSTAGRAM, 2026, max_bytes=8 * _MB,
            note="The profile grid trims 34 px from each side."),
    _social("instagram-tall", "Instagram post (tall, 3:4)", 1080, 1440,
            _INSTAGRAM, 2026, max_bytes=8 * _MB,
            note="The shape of the profile grid; the publishing API stops at 4:5."),
    _social("instagram-landscape", "Instagram post (landscape)", 1080, 566,
            _INSTAGRAM, 2026, max_bytes=8 * _MB,
            note="1.91:1, the widest shape a feed shows."),
    _social("instagram-story", "Instagram story", 1080, 1920,
            _HOOTSUITE, 2026, max_bytes=8 * _MB,
            note="Meta asks ads to keep the top 14 % and the bottom 35 % clear."),
    _social("instagram-reel-cover", "Instagram reel cover", 1080, 1920,
            _HOOTSUITE, 2026, max_bytes=8 * _MB,
            note="The grid shows the middle 1080x1440; Instagram's help still lists 420x654."),
    # Facebook.
    _social("facebook-post", "Facebook post", 1080, 1350,
            _SPROUT, 2026,
            note="4:5; Facebook itself publishes no size for feed photos."),
    _social("facebook-cover", "Facebook page cover", 851, 315,
            "https://www.facebook.com/help/125379114252045", 2026,
            note="Loads fastest as sRGB JPEG under 100 KB; the profile picture covers a corner."),
    _social("facebook-group-cover", "Facebook group cover", 1640, 856,
            "https://www.facebook.com/help/212144952271305", 2026,
            note="Phones show less of the height."),
    _social("facebook-event-cover", "Facebook event cover", 1920, 1005,
            _SPROUT, 2026,
            note="Facebook itself publishes no size for event covers."),
    _social("facebook-story", "Facebook story", 1080, 1920,
            "https://developers.facebook.com/docs/page-stories-api/", 2026, max_bytes=10 * _MB),
    # Threads.
    _social("threads-post", "Threads post", 1080, 1350,
            _TACTIC, 2026, max_bytes=8 * _MB,
            note="The Threads API takes widths from 320 to 1440 px, and 8 MB."),
    # X. The limit of 5 MB is the API's.
    _social("x-post", "X post", 1200, 675,
            _TACTIC, 2026, max_bytes=5 * _MB,
            note="16:9; X shows a single picture from 2:1 to 3:4 without a crop."),
    _social("x-header", "X header", 1500, 500,
            "https://help.x.com/en/managing-your-account/"
            "common-issues-when-uploading-profile-photo", 2026,
            note="X may crop 60 px from the top and from the bottom."),
    _social("x-card", "X link card (large image)", 1200, 600,
            "https://web.archive.org/web/20260112050218/https://developer.x.com/en/docs/"
            "x-for-websites/cards/overview/summary-card-with-large-image", 2026,
            groups=("social", "web"), max_bytes=5 * _MB,
            note="X states 2:1, from 300x157 to 4096x4096; its page now lives in the archive."),
    # LinkedIn.
    _social("linkedin-post", "LinkedIn post", 1200, 627,
            _LINKEDIN_PAGES, 2026, max_bytes=3 * _MB),
    _social("linkedin-square", "LinkedIn post (square)", 1200, 1200,
            "https://www.linkedin.com/help/lms/answer/a426534", 2026, max_bytes=5 * _MB,
            note="The size of a square single image ad."),
    _social("linkedin-banner", "LinkedIn profile banner", 1584, 396,
            "https://www.linkedin.com/help/linkedin/answer/a568217", 2026, max_bytes=8 * _MB,
            note="The profile photo covers the lower left."),
    _social("linkedin-company-cover", "LinkedIn company cover", 1512, 256,
            _LINKEDIN_PAGES, 2026, max_bytes=3 * _MB,
            note="May be trimmed, so the middle counts; it used to be 1128x191."),
    _social("linkedin-article-cover", "LinkedIn article cover", 1920, 1080,
            "https://www.linkedin.com/help/linkedin/answer/a521719", 2025),
    _social("linkedin-event-cover", "LinkedIn event cover", 1280, 720,
            "https://www.linkedin.com/help/linkedin/answer/a554183", 2026),
    # Pinterest.
    _social("pinterest-pin", "Pinterest pin", 1000, 1500,
            "https://help.pinterest.com/en/business/article/pinterest-product-specs", 2026,
            max_bytes=20 * _MB,
            note="Taller than 2:3 may be cut off in feeds."),
    # YouTube.
    _social("youtube-thumbnail", "YouTube thumbnail", 1280, 720,
            "https://developers.google.com/youtube/v3/docs/thumbnails", 2026,
            max_bytes=2 * _MB,
            note="The largest size in the API's list; 2 MB is the limit from a phone."),
    _social("youtube-thumbnail-4k", "YouTube thumbnail (4K)", 3840, 2160,
            _YOUTUBE_THUMBNAILS, 2026, max_bytes=50 * _MB,
            note="What YouTube recommends for an upload from a computer."),
    _social("youtube-short", "YouTube Shorts thumbnail", 2160, 3840,
            _YOUTUBE_THUMBNAILS, 2026, max_bytes=50 * _MB,
            note="Uploaded from a computer only; lists show the middle 2:3."),
    _social("youtube-banner", "YouTube channel banner", 2560, 1440,
            "https://developers.google.com/youtube/v3/docs/channelBanners/insert", 2026,
            max_bytes=6 * _MB,
            note="Every device shows the middle 1546x423, a television all of it."),
    # Video and messages.
    _social("tiktok", "TikTok photo", 1080, 1920,
            "https://developers.tiktok.com/doc/content-posting-api-media-transfer-guide", 2026,
            max_bytes=20 * _MB,
            note="JPEG or WebP; buttons and the caption cover the right edge and the bottom."),
    _social("snapchat", "Snapchat snap", 1080, 1920,
            "https://businesshelp.snapchat.com/s/article/top-snap-specs", 2026,
            max_bytes=5 * _MB,
            note="Snapchat asks ads to keep the top 10 % and the bottom 35 % clear."),
    _social("whatsapp-status", "WhatsApp status", 1080, 1920,
            "https://chatarmin.com/en/blog/whats-app-image-size-guide", 2026,
            note="WhatsApp publishes no size; the guide keeps the middle 1080x1350 for content."),
    _social("whatsapp-sticker", "WhatsApp sticker", 512, 512,
            "https://whatsapp.github.io/WhatsApp-Nodejs-SDK/api-reference/types/"
            "StickerMediaObject", 2026, format="webp", max_bytes=100 * _KB),
    _social("telegram-sticker", "Telegram sticker", 512, 512,
            "https://core.telegram.org/stickers", 2026,
            fit="inside", format="webp", max_bytes=512 * _KB,
            note="One side is exactly 512 px, the other 512 px or less."),
    # The rest of the feeds.
    _social("bluesky-post", "Bluesky post", 1200, 675,
            "https://xroadstudio.com/platform-specs/bluesky", 2026, max_bytes=2 * _MB,
            note="Bluesky raised its limit from 1 MB to 2 MB in April 2026."),
    _social("bluesky-banner", "Bluesky banner", 1500, 500,
            "https://postfa.st/sizes/bluesky/feed/2025", 2025, max_bytes=1 * _MB,
            note="The app shows it 150 px tall at any width."),
    _social("mastodon-header", "Mastodon header", 1500, 500,
            "https://docs.joinmastodon.org/user/profile/", 2026, max_bytes=2 * _MB,
            note="Servers may allow larger files."),
    _social("discord-server-banner", "Discord server banner", 960, 540,
            "https://support.discord.com/hc/en-us/articles/360028716472-Server-Banners", 2026,
            note="The least Discord takes, at 16:9."),
    _social("discord-profile-banner", "Discord profile banner", 600, 240,
            "https://allimgtools.app/blog/discord-banner-size-guide-2026", 2026),
    _social("twitch-banner", "Twitch profile banner", 1200, 480,
            "https://stream-rise.com/articles/twitch-channel-page-setup", 2026,
            max_bytes=10 * _MB,
            note="Phones show the middle third."),
    # Link previews.
    _social("open-graph", "Open Graph link preview", 1200, 630,
            "https://developers.facebook.com/docs/sharing/webmasters/images", 2026,
            groups=("social", "web"), max_bytes=8 * _MB,
            note="Below 600x315 the preview is small."),
    _social("github-preview", "GitHub repository preview", 1280, 640,
            "https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-"
            "features/customizing-your-repository/"
            "customizing-your-repositorys-social-media-preview", 2026,
            groups=("social", "web"), max_bytes=1 * _MB),
)

_MARKETPLACE: tuple[Platform, ...] = (
    _marketplace("amazon-main", "Amazon main image", 2000, 2000,
                 "https://imagewand.app/blog/amazon-product-image-requirements-seller-guide",
                 2026, max_bytes=10 * _MB,
                 note="Zoom needs 1000 px and is best from 1600; the product fills 85 %."),
    _marketplace("ebay", "eBay listing", 1600, 1600,
                 "https://www.ebay.co.uk/help/selling/listings/adding-pictures-listings?id=4148",
                 2026, quality=90, max_bytes=12 * _MB,
                 note="At least 500 px; eBay asks developers for JPEG quality 90 or more."),
    _marketplace("etsy", "Etsy listing", 2000, 2000,
                 "https://help.etsy.com/hc/en-us/articles/115015663347-Requirements-and-Best-"
                 "Practices-for-Images-in-Your-Etsy-Shop", 2026,
                 note="Etsy asks for 2000 px on the shortest side; transparency turns black."),
    _marketplace("shopify", "Shopify product", 2048, 2048,
                 "https://help.shopify.com/en/manual/products/product-media/product-media-types",
                 2026, max_bytes=20 * _MB,
                 note="Shopify takes up to 5000x5000, and shows square products best at this."),
    _marketplace("walmart", "Walmart listing", 2200, 2200,
                 "https://marketplacelearn.walmart.com/guides/Item%20setup/Item%20content,"
                 "%20imagery,%20and%20media/"
                 "Product-detail-page:-Image-guidelines-&-requirements",
                 2026, max_bytes=5 * _MB,
                 note="Zoom needs 1500 px."),
    _marketplace("google-shopping", "Google Shopping", 1500, 1500,
                 "https://support.google.com/merchants/answer/6324350",
                 2026, max_bytes=16 * _MB,
                 note="At least 500x500 from 31 January 2027."),
    _marketplace("mercado-libre", "Mercado Libre listing", 1200, 1200,
                 "https://developers.mercadolibre.com.ar/en_us/working-with-pictures",
                 2024, max_bytes=10 * _MB,
                 note="At least 500x500; zoom needs 800 px of width."),
    _marketplace("zalando", "Zalando article", 1801, 2600,
                 "https://partner.zalando.com/university/article/accessories-image-guide",
                 2025, max_bytes=20 * _MB,
                 note="At least 762x1100, JPEG only."),
)

_PAGES: tuple[Platform, ...] = (
    _web("google-discover", "Google Discover", 1200, 675,
         "https://developers.google.com/search/docs/appearance/google-discover", 2026,
         note="Google asks for 1200 px of width or more, at 16:9."),
    _web("apple-touch-icon", "Apple touch icon", 180, 180, _WEB_ICONS, 2025, format="png",
         note="Opaque, with square corners."),
    _web("pwa-icon", "Web app icon", 512, 512, _WEB_ICONS, 2025, format="png"),
    _web("pwa-icon-small", "Web app icon (small)", 192, 192, _WEB_ICONS, 2025, format="png"),
)
# fmt: on

RESPONSIVE: tuple[Platform, ...] = tuple(
    _web(
        f"web-{width}-{format}",
        f"Web, {width} px ({format.upper()})",
        width,
        height,
        _RESOLUTIONS,
        2025,
        fit="inside",
        format=format,
        enlarge=False,
        note=f"Fits the {screen} screen and is never enlarged.",
    )
    for width, height, screen in ((640, 480, "VGA"), (1280, 720, "HD"), (1920, 1080, "Full HD"))
    for format in ("avif", "webp", "jpeg")
)
"""The responsive set of a web page: each width, best format first."""


def _catalogue(platforms: Iterable[Platform]) -> Mapping[str, Platform]:
    """Return the platforms by name, in their order; a name given twice is an error."""
    table: dict[str, Platform] = {}
    for platform in platforms:
        if platform.name in table:
            raise ValueError(f"two platforms are named {platform.name!r}")
        table[platform.name] = platform
    return MappingProxyType(table)


PLATFORMS: Mapping[str, Platform] = _catalogue((*_SOCIAL, *_MARKETPLACE, *_PAGES, *RESPONSIVE))
"""Every platform by name, read-only."""


def in_group(name: str) -> tuple[Platform, ...]:
    """Return the platforms of a group in the order of the catalogue; none for an unknown group."""
    return tuple(platform for platform in PLATFORMS.values() if name in platform.groups)


def find(name: str) -> Platform | None:
    """Return the platform of that name, or None."""
    return PLATFORMS.get(name)


def nearest(name: str) -> str | None:
    """Return the name that was probably meant, or None if nothing comes close."""
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    if not wanted:
        return None
    for known in PLATFORMS:
        if known == wanted or known.startswith(f"{wanted}-"):
            return known
    matches = get_close_matches(wanted, PLATFORMS, n=1)
    return matches[0] if matches else None
