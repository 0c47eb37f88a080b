"""What pyproject.toml cannot say: the C form of fcrypt is built where there is a compiler and left out where not."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "rx.security._fcrypt",
            ["rx/security/_fcrypt.c"],
            extra_compile_args=["-O3"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
