"""From a folder of videos to an index, in stages that go on where they stopped: `unreel explore`."""
