"""The service, `derain serve`: many live streams from one file, watched, restarted, reloaded, shown on a web page."""
