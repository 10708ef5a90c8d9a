"""Windows: equally long pieces that cover a run."""


def window_starts(n_volumes: int, window: int) -> list[int]:
    """Place as few windows as cover a whole run, evenly; neighbours may overlap.

    Parameters
    ----------
    n_volumes : int
        Volumes of the run.
    window : int
        Volumes of a window; 0 for one window as long as the run.

    Returns
    -------
    list of int
        First volume of each window, ascending, counted from 0.

    Raises
    ------
    ValueError
        If the run is shorter than a window; callers who know its name say so beforehand.
    """
    if n_volumes < max(window, 1):
        raise ValueError(f"a run of {n_volumes} volumes holds no window of {window}")
    if window == 0:
        return [0]
    n_windows = -(-n_volumes // window)
    room = n_volumes - window
    return [number * room // max(n_windows - 1, 1) for number in range(n_windows)]
