"""The tools that come with pveops."""

from pveops.tools.library.asks import ASK_TOOLS
from pveops.tools.library.bulk import BULK_TOOLS
from pveops.tools.library.plans import PLAN_TOOLS
from pveops.tools.library.reads import READ_TOOLS
from pveops.tools.library.settings import SETTING_TOOLS
from pveops.tools.registry import Registry

__all__ = ["standard"]


def standard() -> Registry:
    """A registry with all tools of pveops."""
    return Registry((*READ_TOOLS, *ASK_TOOLS, *PLAN_TOOLS, *SETTING_TOOLS, *BULK_TOOLS))
