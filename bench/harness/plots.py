"""The plots of a results directory."""


def draw_all(results, directory):
    pass
