/** Connects to the address that is given, as whoever runs it, and prints how that went. */
import { PrimaError } from '@prima/base';
import { connectLibvirt } from '@prima/libvirt';

try {
  await using _libvirt = await connectLibvirt(process.argv[2] ?? '');
  console.log('connected');
} catch (error) {
  if (!(error instanceof PrimaError)) throw error;
  console.log(`${error.code} ${error.message}`);
}
