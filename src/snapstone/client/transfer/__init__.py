"""Moving blocks between images and endpoints: pace, pipeline, journal, upload, download, copy, comparison."""
