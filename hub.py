"""Find out in seconds, not minutes, whether the Hugging Face Hub can be reached."""

import urllib.error
import urllib.request
from functools import cache

from huggingface_hub import constants

TIMEOUT_SECONDS = 5


@cache
def hub_answers():
    """Say whether the Hub answers; if not, switch its libraries to what they have cached.

    They retry for up to a minute before they give up. Call this before `datasets` or
    `transformers` is first imported: both copy the offline setting when they are.
    """
    if not constants.HF_HUB_OFFLINE:
        try:
            urllib.request.urlopen(constants.ENDPOINT, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # Any HTTP status is an answer.
        except OSError:
            constants.HF_HUB_OFFLINE = True
    return not constants.HF_HUB_OFFLINE
