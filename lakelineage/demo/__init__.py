"""The demo: the main job of lakelineage on real data, told scene by scene. It uses the public interface only."""

from lakelineage.demo.play import run_demo

__all__ = ["run_demo"]
