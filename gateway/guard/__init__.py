"""The live watch on routes: detectors score answers, sequential tests decide, a watch acts."""
