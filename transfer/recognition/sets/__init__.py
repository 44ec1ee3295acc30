"""The data sets of recognition: one file each, whose ``SET`` says where the images lie and how they are split.

A ``SET`` is a ``folders.Folders``, a ``torchvision_files.TorchvisionFiles``, or whatever has their three methods.
"""
