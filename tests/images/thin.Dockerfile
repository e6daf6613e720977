# Stands in for the stages' image, whose packages take 6 GB: whoever starts it mounts those of the tests' environment.
# Their folder is called as Python calls it: by that, dill tells packages from what it must pickle.
# Its Python must be of the same minor release as that environment's.
ARG PYTHON_IMAGE

FROM ${PYTHON_IMAGE}
COPY ser_core /opt/app/ser_core
COPY jobs/ser_jobs /opt/app/ser_jobs
ENV PATH=/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/app:/opt/deps/site-packages
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python", "-m", "ser_jobs.runtime"]
