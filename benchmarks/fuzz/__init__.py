"""Damaged and nonsensical input by the thousand: every case must end in a clear refusal or in a sound result."""
