// loopback.c: what listens on every interface listens on this machine's loopback instead. launch/environment.sh compiles it and loads it
// (LD_PRELOAD) into mpirun for a job on one host: Open MPI 4.1 has no setting for the address of its control ports.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  static int (*system_bind)(int, const struct sockaddr *, socklen_t);
  if (!system_bind) *(void **)&system_bind = dlsym(RTLD_NEXT, "bind");
  if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in local = *(const struct sockaddr_in *)address;
    if (local.sin_addr.s_addr == htonl(INADDR_ANY)) local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return system_bind(fd, (struct sockaddr *)&local, sizeof local);
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 local = *(const struct sockaddr_in6 *)address;
    if (IN6_IS_ADDR_UNSPECIFIED(&local.sin6_addr)) local.sin6_addr = in6addr_loopback;
    return system_bind(fd, (struct sockaddr *)&local, sizeof local);
  }
  return system_bind(fd, address, length);
}
